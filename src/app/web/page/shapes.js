// A shape for each kind of abnormal: whoever does not see the colour sees the form, and reads the word.

import { h, s } from "./dom.js";

const PATHS = {
	// An octagon with a bar: stop.
	critical: () => [s("path", { class: "critical-mark", d: "M4.2 0h5.6L14 4.2v5.6L9.8 14H4.2L0 9.8V4.2z" }),
		s("path", { class: "on-mark", d: "M6 3h2v5H6zM6 9h2v2H6z" })],
	// A triangle: look.
	warning: () => [s("path", { class: "warning-mark", d: "M7 .5 14 13.5H0z" }),
		s("path", { class: "on-mark", d: "M6.2 5h1.6v4.2H6.2zM6.2 10.2h1.6v1.6H6.2z" })],
	// A circle, empty: nothing to see.
	quiet: () => [s("circle", { class: "quiet-mark", cx: 7, cy: 7, r: 5.5 })],
};

export function shape(kind) {
	return s("svg", { class: "shape", viewBox: "0 0 14 14", "aria-hidden": "true" }, (PATHS[kind] || PATHS.quiet)());
}

export function sign(kind, word) {
	return h("span", { class: kind }, shape(kind), " ", word);
}

const RESULTS = {
	ok: ["quiet", "ok"], warning: ["warning", "warnings"], failed: ["critical", "failed"],
	lost: ["critical", "lost"], missed: ["critical", "missed"], skipped: ["quiet", "skipped"],
	cancelled: ["quiet", "cancelled"], running: ["quiet", "running"],
};

// The result of a run: only what is not well has a shape.
export function result(state) {
	const [kind, word] = RESULTS[state] || ["critical", state];

	return kind === "quiet" ? h("span", {}, word) : sign(kind, word);
}
