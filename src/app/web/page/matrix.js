// Part 3: a row for each job.

import { byId, h, replace, s } from "./dom.js";
import { result, shape } from "./shapes.js";
import { mayAct, runNow } from "./session.js";
import * as time from "./time.js";

const AGE = { width: 90, height: 10, limit: 60 };
const SPARK = { width: 84, height: 16 };
const CELL = 8;

const CELLS = {
	o: ["ok", () => s("rect", { class: "cell-ok", x: 1, y: 3, width: 5, height: 8 })],
	"-": ["none due", () => s("rect", { class: "cell-none", x: 1, y: 9, width: 5, height: 2 })],
	w: ["with warnings", () => s("path", { class: "cell-warning", d: "M3.5 2.5 7 11H0z" })],
	f: ["failed", () => s("path", { class: "cell-failed", d: "M0 3.5 1.5 2l2 2.6L5.500 2 7 3.500 4.800 6.500 7 9.500 5.500 11l-2-2.600-2 2.600L0 9.500l2.200-3z" })],
	m: ["missed", () => s("rect", { class: "cell-missed", x: 1, y: 3, width: 5, height: 8 })],
	s: ["skipped", () => s("circle", { class: "cell-quiet", cx: 3.5, cy: 7, r: 2.4 })],
	c: ["cancelled", () => s("path", { class: "cell-quiet", d: "M1 10.500 6 3.500" })],
	r: ["running", () => s("rect", { class: "cell-quiet", x: 1, y: 3, width: 5, height: 8 })],
};

export function strip(letters, due) {
	const counts = {};

	[...letters].forEach((letter) => { counts[letter] = (counts[letter] || 0) + 1; });
	const said = Object.entries(counts).filter(([letter]) => letter !== "-")
		.map(([letter, count]) => `${count} ${CELLS[letter][0]}`).join(", ");
	return s("svg", { width: letters.length * CELL, height: 14, role: "img",
		"aria-label": `last due runs: ${said || "none"}` },
	[...letters].map((letter, at) => s("g", { transform: `translate(${at * CELL} 0)` }, CELLS[letter][1](),
		s("title", {}, due[at] ? `${time.when(due[at] * 1000)}: ${CELLS[letter][0]}` : CELLS[letter][0]))));
}

function legendItem(letter) {
	return [s("svg", { viewBox: "0 0 8 14", "aria-hidden": "true" }, CELLS[letter][1]()), ` ${CELLS[letter][0]} `];
}

function newest(job) {
	return job.window_to ? time.parse(job.window_to)
		: job.newest_backup ? time.parse(job.newest_backup.consistent_at) : null;
}

function age(job) {
	const at = newest(job);
	const limit = job.max_age_us / 1000;

	if (!at)
		return h("span", { class: limit || job.last_run ? "critical" : "muted" },
			limit || job.last_run ? [shape("critical"), " "] : null, "none");
	const old = time.now() - at;
	if (!limit)
		return h("span", { class: "number" }, time.span(old));
	const over = old > limit;
	const width = Math.min(AGE.width, Math.max(1, old / limit * AGE.limit));
	return h("span", { class: "pair" },
		s("svg", { width: AGE.width, height: AGE.height, "aria-hidden": "true" },
			s("rect", { class: "track", width: AGE.width, height: AGE.height }),
			s("rect", { class: over ? "bar over" : "bar", width, height: AGE.height }),
			s("path", { class: "limit", d: `M${AGE.limit} 0V${AGE.height}` })),
		h("span", { class: `number ${over ? "critical" : ""}` }, over ? [shape("critical"), " "] : null,
			`${time.span(old)} of ${time.span(limit)}`));
}

export function series(text) {
	return text ? text.split(",").map((item) => item.split(" ").map(Number)) : [];
}

function spark(job) {
	const points = series(job.days);

	if (points.length < 2)
		return null;
	const from = time.now() / 1000 - 30 * 86400;
	const sizes = points.map((point) => point[1]);
	const top = Math.max(...sizes);
	const low = Math.min(...sizes, top * 0.8);
	const place = ([at, size]) => [
		Math.max(0, Math.min(SPARK.width - 3, (at - from) / (30 * 86400) * (SPARK.width - 3))),
		SPARK.height - 2 - (top > low ? (size - low) / (top - low) : 0.5) * (SPARK.height - 4)];
	const line = points.map((point) => place(point).map((n) => n.toFixed(1)).join(" ")).join("L");
	const [x, y] = place(points[points.length - 1]);
	return s("svg", { width: SPARK.width, height: SPARK.height, role: "img",
		"aria-label": `30 days, ${time.bytes(sizes[0])} to ${time.bytes(sizes[sizes.length - 1])}` },
	s("path", { class: "spark", d: `M${line}` }), s("circle", { class: "spark-end", cx: x, cy: y, r: 1.8 }));
}

/* How a stream is connected with its server: a shape and a word where it is not. */
function link(job) {
	const since = time.span(time.now() - time.parse(job.link.since));

	switch (job.link.state) {
	case "waiting":
		return h("span", { class: "critical", title: job.link.why }, shape("critical"),
			` waiting to reconnect for ${since}, next try ${time.when(time.parse(job.link.next_try))}`);
	case "catching_up":
		return h("span", { class: "number" },
			`catching up, ${time.bytes(job.link.behind_bytes)} and ${time.span(job.link.behind_us / 1e3)} behind`);
	case "copying":
		return h("span", { class: "number" }, `taking a full copy for ${since}`);
	default:
		return h("span", { class: "muted number" }, `${job.link.state} for ${since}`);
	}
}

function last(job, running) {
	const run = job.last_run;
	const parts = [];

	if (run && run.state !== "running")
		parts.push(h("a", { href: `#run=${encodeURIComponent(run.id)}`, "data-key": `run ${job.job}` }, result(run.state)), " ",
			h("span", { class: "muted number", title: time.exactly(time.parse(run.started)) }, time.ago(time.parse(run.started))));
	else if (!run)
		parts.push(h("span", { class: "muted" }, "never ran here"));
	if (job.link)
		parts.push(" ", link(job));
	else if (job.continuous && job.running && run)
		parts.push(h("a", { href: `#run=${encodeURIComponent(run.id)}`, "data-key": `run ${job.job}` }, "receiving"),
			h("span", { class: "muted number" }, ` for ${time.span(time.now() - time.parse(run.started))}`));
	else if (running)
		parts.push(" ", h("span", { class: "running number" }, running.percent === null ? "runs" : `runs, ${running.percent} %`));
	return h("span", {}, parts);
}

function next(job) {
	if (job.continuous)
		return "all the time";
	return job.next_run ? h("span", { class: "number", title: time.ago(time.parse(job.next_run)) }, time.when(time.parse(job.next_run)))
		: h("span", { class: "muted" }, "by hand");
}

function proved(job) {
	if (job.proved_level === null)
		return h("span", { class: "muted" }, job.window_to || job.continuous ? "–" : "no");
	return h("span", { class: "number", title: time.exactly(time.parse(job.proved_at)) },
		`L${job.proved_level}`, h("span", { class: "muted" }, ` ${time.ago(time.parse(job.proved_at))}`));
}

function row(state, job) {
	const running = state.running.find((item) => item.job === job.job);
	const alarm = state.abnormal.find((item) => item.subject === job.job);

	return h("tr", {},
		h("th", { scope: "row", class: "job", title: `${job.job}: ${job.kind} of ${job.source}` },
			alarm ? [shape(alarm.severity), h("span", { class: "unseen" }, `${alarm.severity}: `), " "] : null,
			job.job, " ", h("span", { class: "muted" }, job.kind)),
		h("td", {}, age(job)),
		h("td", {}, last(job, running)),
		h("td", {}, next(job)),
		h("td", { class: "number" }, job.stored_bytes ? time.bytes(job.newest_backup ? job.newest_backup.stored_bytes : job.stored_bytes) : "–"),
		h("td", {}, spark(job)),
		h("td", {}, proved(job)),
		h("td", {}, strip(job.strip, (job.due || "").split(",").map(Number))),
		mayAct() ? h("td", {}, h("button", { type: "button", class: "copy", "data-key": `go ${job.job}`, "aria-label": `Run ${job.job} now`,
			onclick: () => runNow(job.job) }, "run")) : null);
}

export function showMatrix(state) {
	if (state.jobs.length === 0) {
		replace(byId("matrix"), h("p", { class: "muted" }, "There is no job yet."));
		return;
	}
	const heads = ["Job", "Age of limit", "Last result", "Next", "Size", "30 days", "Proved", "Last 30 due runs"];

	replace(byId("matrix"),
		h("div", { class: "scroll" }, h("table", {},
			h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)), mayAct() ? h("td", {}) : null)),
			h("tbody", {}, state.jobs.map((job) => row(state, job))))),
		h("p", { class: "legend" }, h("span", {}, ["o", "-", "w", "f", "m"].map(legendItem))));
}
