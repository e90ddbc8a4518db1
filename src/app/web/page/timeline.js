// Part 4: a lane for each source; a point of it gives the plan and the commands to type.

import { byId, command, h, replace, s } from "./dom.js";
import { getJson } from "./api.js";
import { series } from "./matrix.js";
import { sign } from "./shapes.js";
import * as time from "./time.js";

const LANE = 26;
const LEFT = 130;
const TOP = 18;
const RANGES = { "24 h": 86400e3, "7 d": 7 * 86400e3, "30 d": 30 * 86400e3, "90 d": 90 * 86400e3 };

let range = "7 d";
let cursors = {}; // source: ms
let latest = null;

function axis(width, from, to) {
	const length = to - from;
	const steps = [3600e3, 3 * 3600e3, 6 * 3600e3, 86400e3, 2 * 86400e3, 7 * 86400e3, 14 * 86400e3];
	const step = steps.find((one) => length / one <= width / 80) || steps[steps.length - 1];
	const marks = [];

	for (let at = Math.ceil(from / step) * step; at < to; at += step)
		marks.push(at);
	return marks.map((at) => {
		const x = LEFT + (at - from) / length * (width - LEFT);
		return [s("path", { class: "grid", d: `M${x} ${TOP - 4}V${TOP + 2000}` }),
			s("text", { x: x + 3, y: TOP - 6 }, step < 86400e3 ? time.when(at) : time.day(at))];
	});
}

function lane(one, at, width, from, to, jobs) {
	const y = TOP + at * LANE;
	const x = (ms) => LEFT + Math.max(0, Math.min(1, (ms - from) / (to - from))) * (width - LEFT);
	const inside = (ms) => ms >= from && ms <= to;
	const parts = [s("rect", { class: "lane-ground", x: LEFT, y: y + 2, width: width - LEFT, height: LANE - 4 })];

	for (const span of one.spans) {
		const begin = time.parse(span.from);
		const end = time.parse(span.to);
		if (end >= from)
			parts.push(s("rect", { class: "band", x: x(begin), y: y + 6, width: Math.max(1, x(end) - x(begin)), height: LANE - 12 },
				s("title", {}, `any second from ${time.exactly(begin)} to ${time.exactly(end)}`)));
	}
	for (const gap of one.gaps) {
		const begin = time.parse(gap.from) ?? from;
		const end = time.parse(gap.to) ?? to;
		if (end >= from)
			parts.push(s("rect", { class: "gap", x: x(begin), y: y + 4, width: Math.max(4, x(end) - x(begin)), height: LANE - 8 },
				s("title", {}, `gap: ${gap.text}`)),
			s("text", { class: "loud", x: Math.min(x(begin) + 2, width - 30), y: y + 17 }, "gap"));
	}
	for (const [started, consistent, level, job] of series(one.backups)) {
		const begin = started * 1000;
		const end = consistent * 1000;
		if (!inside(end))
			continue;
		// While a backup is being made it stands for no instant.
		if (x(end) - x(begin) > 2)
			parts.push(s("rect", { class: "fuzzy", x: x(begin), y: y + 3, width: x(end) - x(begin), height: LANE - 6 }));
		const kind = jobs[job] ? jobs[job].kind : "";
		const word = level === -2 ? "damaged or unproven" : level < 0 ? "not proved" : `proved to level ${level}`;
		parts.push(s("path", { class: `tick ${level >= 2 ? "proved" : ""} ${level === -2 ? "bad" : ""}`, d: `M${x(end)} ${y + 3}V${y + LANE - 3}` },
			s("title", {}, `${kind} of ${time.exactly(end)}, ${word}`)));
		if (level === -2)
			parts.push(s("text", { class: "loud", x: x(end) - 4, y: y + 17 }, "✕"));
	}
	const cursor = cursors[one.source];
	if (cursor && inside(cursor))
		parts.push(s("path", { class: "cursor", d: `M${x(cursor)} ${y}V${y + LANE}` }));
	if (one.failure)
		parts.push(s("text", { class: "loud", x: LEFT + 4, y: y + 17 }, one.failure));

	const value = cursor || to;
	return s("g", {
		class: "lane", tabindex: 0, role: "slider", "data-key": `lane ${one.source}`,
		"aria-label": `Recovery point of ${one.source}; Enter shows the plan`,
		"aria-valuemin": Math.round(from / 1000), "aria-valuemax": Math.round(to / 1000),
		"aria-valuenow": Math.round(value / 1000), "aria-valuetext": time.exactly(value),
		onclick: (event) => {
			const box = event.currentTarget.ownerSVGElement.getBoundingClientRect();
			const px = (event.clientX - box.left) / box.width * width;
			if (px >= LEFT)
				choose(one.source, from + (px - LEFT) / (width - LEFT) * (to - from));
		},
		onkeydown: (event) => move(event, one.source, value, from, to),
	}, s("rect", { x: 0, y, width, height: LANE, fill: "transparent" }),
	s("text", { x: 0, y: y + 17 }, one.source.length > 20 ? `${one.source.slice(0, 19)}…` : one.source, s("title", {}, one.source)), parts);
}

function move(event, source, value, from, to) {
	const small = (to - from) / 200;
	const steps = { ArrowLeft: -small, ArrowRight: small, PageDown: -10 * small, PageUp: 10 * small,
		ArrowDown: -small, ArrowUp: small };

	if (event.key === "Enter" || event.key === " ")
		choose(source, value);
	else if (event.key === "Home")
		cursors[source] = from;
	else if (event.key === "End")
		cursors[source] = to;
	else if (steps[event.key])
		cursors[source] = Math.max(from, Math.min(to, value + steps[event.key]));
	else
		return;
	event.preventDefault();
	draw();
}

async function choose(source, at) {
	const stamp = Math.round(at / 1000) * 1000;

	cursors[source] = stamp;
	draw();
	const field = byId("plan-at");
	if (field)
		field.value = "";
	replace(byId("plan"), h("p", { class: "muted" }, "Looking…"));
	try {
		const plan = await getJson(`/api/v1/plan?source=${encodeURIComponent(source)}&at=${encodeURIComponent(new Date(stamp).toISOString())}`);
		replace(byId("plan"), h("div", { class: "plan" },
			h("h3", {}, `${source} at ${time.exactly(stamp)}`),
			h("p", {}, plan.text),
			h("p", {}, "See what it would do: ", command(plan.plan_command, "copy plan")),
			h("p", {}, "Restore beside the live data: ", command(plan.command, "copy restore")),
			h("p", { class: "muted" }, "Restores are started in a terminal, never from this page.")));
	} catch (error) {
		replace(byId("plan"), h("div", { class: "plan" }, h("h3", {}, `${source} at ${time.exactly(stamp)}`),
			h("p", {}, sign("warning", "No"), `: ${error.message}`), error.hint ? h("p", {}, error.hint) : null));
	}
}

function draw() {
	const state = latest;
	const target = byId("timeline");
	const to = time.now();
	const from = to - RANGES[range];
	const width = Math.max(600, target.clientWidth || 1200);
	const height = TOP + state.lanes.length * LANE + 2;

	replace(target,
		h("div", { class: "tools" },
			Object.keys(RANGES).map((name) => h("button", { type: "button", "aria-pressed": String(name === range), "data-key": `range ${name}`,
				onclick: () => { range = name; draw(); } }, name)),
			h("span", { class: "legend" },
				h("span", {}, s("svg", { viewBox: "0 0 16 12", "aria-hidden": "true" }, s("rect", { class: "band", x: .5, y: 2, width: 15, height: 8 })), " any second"),
				h("span", {}, s("svg", { viewBox: "0 0 16 12", "aria-hidden": "true" }, s("path", { class: "tick", d: "M8 0v12" })), " a backup"),
				h("span", {}, s("svg", { viewBox: "0 0 16 12", "aria-hidden": "true" }, s("path", { class: "tick proved", d: "M8 0v12" })), " one that was restored"),
				h("span", {}, s("svg", { viewBox: "0 0 16 12", "aria-hidden": "true" }, s("rect", { class: "gap", x: .5, y: 1, width: 15, height: 10 })), " gap"))),
		s("svg", { viewBox: `0 0 ${width} ${height}`, height, preserveAspectRatio: "none" },
			s("defs", {}, s("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
				s("path", { class: "hatch-line", d: "M0 0V6" }))),
			axis(width, from, to),
			state.lanes.map((one, at) => lane(one, at, width, from, to, state.jobs))));
}

export function showTimeline(state) {
	latest = state;
	if (state.lanes.length === 0)
		replace(byId("timeline"), h("p", { class: "muted" }, "Nothing yet."));
	else
		draw();
}
