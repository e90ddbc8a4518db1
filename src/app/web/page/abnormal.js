// Part 2: what is not as it should be, since when, why, and what to type.

import { byId, command, h, replace } from "./dom.js";
import { sign } from "./shapes.js";
import * as time from "./time.js";
import { acknowledge, mayAct, shelve } from "./session.js";

function actions(alarm) {
	if (!alarm.rule || !mayAct())
		return null;
	const name = `${alarm.rule} ${alarm.subject}`;
	return [
		alarm.acknowledged ? null : h("button", { type: "button", "data-key": `ack ${name}`,
			"aria-label": `Acknowledge ${name}`, onclick: () => acknowledge(alarm) }, "acknowledge"), " ",
		h("button", { type: "button", "data-key": `shelve ${name}`, "aria-label": `Shelve ${name}`,
			onclick: () => shelve(alarm) }, "shelve"),
	];
}

function row(alarm) {
	const since = time.parse(alarm.since);
	const aside = alarm.acknowledged || alarm.shelved_until;

	return h("tr", { class: aside ? "aside" : null },
		h("td", {}, aside ? `${alarm.severity}, ${alarm.shelved_until
			? `shelved until ${time.when(time.parse(alarm.shelved_until))}` : "acknowledged"}`
			: sign(alarm.severity, alarm.severity)),
		h("th", { scope: "row" }, alarm.subject),
		h("td", { class: "number", title: time.exactly(since) }, since ? `${time.when(since)} (${time.span(time.now() - since)})` : "–"),
		h("td", { class: "cause" }, alarm.text, alarm.cause && alarm.cause !== alarm.text ? `: ${alarm.cause}` : null),
		h("td", {}, command(alarm.next_command, `copy ${alarm.rule} ${alarm.subject}`)),
		h("td", { class: "actions" }, actions(alarm)));
}

export function showAbnormal(state) {
	const alarms = state.abnormal;

	if (alarms.length === 0) {
		replace(byId("abnormal"), h("p", { class: "muted" }, "Nothing."));
		return;
	}
	replace(byId("abnormal"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Abnormal, all", "data-key": "abnormal" },
		h("table", {},
			h("thead", {}, h("tr", {}, ["Severity", "What", "Since", "Why", "Type", ""].map((text) =>
				text ? h("th", { scope: "col" }, text) : h("td", {})))),
			h("tbody", {}, alarms.map(row)))));
}
