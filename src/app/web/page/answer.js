// Part 1: the answer, large, and what stands behind it for each source.

import { byId, h, replace } from "./dom.js";
import { shape } from "./shapes.js";

const KINDS = { yes: "quiet", but: "warning", no: "critical" };

export function showAnswer(state) {
	const answer = state.answer;
	const kind = KINDS[answer.verdict] || "critical";
	const section = byId("answer");
	const sources = answer.sources.map((source) => h("li", {},
		source.why ? shape(KINDS[source.verdict]) : null, source.why ? " " : null,
		h("strong", {}, source.source), ` ${source.text}`, source.why ? `; ${source.why}` : null));

	section.className = answer.verdict;
	replace(byId("answer-body"),
		h("p", { class: `verdict ${kind === "quiet" ? "" : kind}` }, kind === "quiet" ? null : shape(kind),
			kind === "quiet" ? null : " ", answer.word, ": ", answer.text),
		answer.sources.length > 4
			? h("details", { open: false }, h("summary", { "data-key": "sources" }, `${answer.sources.length} sources`),
				h("ul", {}, sources))
			: answer.sources.length > 1 ? h("ul", {}, sources) : null);
}
