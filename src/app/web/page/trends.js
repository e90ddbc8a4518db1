// Part 5: where it is going: space, size, duration, and how far behind the log is.

import { byId, h, replace } from "./dom.js";
import { series } from "./matrix.js";
import * as time from "./time.js";

let chosen = null;
let drawn = null;

function colour(name) {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function stamps(split) {
	return split.map((at) => time.day(at * 1000));
}

// One chart: `lines` are [label, values, colour name, dash].
function chart(target, title, said, xs, lines, show) {
	const box = h("div", { class: "chart", role: "img", "aria-label": `${title}: ${said}` });

	target.append(h("div", { class: "chart" }, h("h3", {}, title), h("p", { class: "muted" }, said), box));
	if (xs.length < 2 || typeof globalThis.uPlot !== "function")
		return;
	const line = colour("--line");
	const axis = { stroke: colour("--muted"), grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui, sans-serif" };
	new globalThis.uPlot({
		width: Math.max(300, box.clientWidth || 580), height: 150, legend: { show: false },
		cursor: { show: false }, select: { show: false },
		scales: { x: { time: false }, y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1] } },
		axes: [{ ...axis, values: (_, split) => stamps(split) }, { ...axis, size: 64, values: (_, split) => split.map(show) }],
		series: [{}, ...lines.map(([label, , name, dash]) => ({ label, stroke: colour(name), width: 1.5, dash, spanGaps: true, points: { show: xs.length < 40 && !dash, size: 4 } }))],
	}, [xs, ...lines.map(([, values]) => values)], box);
}

function storeChart(target, state) {
	const points = series(state.space);
	const capacity = state.capacity_bytes;
	const limit = capacity * (state.warn_percent || 100) / 100;
	const used = capacity ? Math.round(state.used_bytes / capacity * 100) : 0;
	const full = state.full_at ? `at this rate at its limit on ${time.day(time.parse(state.full_at))}` : "not growing towards its limit";

	if (points.length === 0)
		points.push([time.now() / 1000, state.used_bytes]);
	chart(target, "Store used", `${time.bytes(state.used_bytes)} of ${time.bytes(capacity)} (${used} %), ${full}`,
		points.map((point) => point[0]),
		[["used", points.map((point) => point[1]), "--text"], ["limit", points.map(() => limit), "--warning-mark", [4, 3]]], time.bytes);
}

function jobCharts(target, job) {
	const days = series(job.days);
	const xs = days.map((day) => day[0]);
	const last = days[days.length - 1];

	chart(target, `Size of ${job.job}`, last ? `${time.bytes(last[1])}, ${days.length} days` : "no backup in 30 days", xs,
		[["size", days.map((day) => day[1]), "--text"]], time.bytes);
	chart(target, `Duration of ${job.job}`, last ? time.span(last[2] * 1000) : "–", xs,
		[["duration", days.map((day) => day[2]), "--text"]], (seconds) => time.span(seconds * 1000));
}

function lagChart(target, state) {
	for (const one of state.lags) {
		const points = series(one.points);
		const last = points[points.length - 1];

		chart(target, `Log of ${one.source} behind by`, last ? time.span(last[1] * 1000) : "–", points.map((point) => point[0]),
			[["behind", points.map((point) => point[1]), "--text"]], (seconds) => time.span(seconds * 1000));
	}
}

export function showTrends(state) {
	const jobs = state.jobs.filter((job) => job.days);
	const job = jobs.find((one) => one.job === chosen) || jobs[0];
	const key = JSON.stringify([state.space, job && job.job, job && job.days, state.lags, matchMedia("(prefers-color-scheme: dark)").matches,
		byId("trends").clientWidth, typeof globalThis.uPlot]);

	if (key === drawn)
		return;
	drawn = key;
	const charts = h("div", { class: "charts" });
	replace(byId("trends"), jobs.length > 0 ? h("label", { class: "tools" }, "Job ",
		h("select", { "data-key": "trend", onchange: (event) => { chosen = event.target.value; showTrends(state); } },
			jobs.map((one) => h("option", { value: one.job, selected: one === job }, one.job)))) : null, charts);
	storeChart(charts, state);
	if (job)
		jobCharts(charts, job);
	lagChart(charts, state);
}
