// Part 6: what was done: runs, restores, backups, and who did something here.

import { byId, h, replace } from "./dom.js";
import { getJson } from "./api.js";
import { result } from "./shapes.js";
import * as time from "./time.js";

const KINDS = ["Runs", "Restores", "Backups", "Audit"];
const STATES = ["failed", "missed", "lost", "warning", "ok", "running", "skipped", "cancelled"];
const PAGE = 100;

const chosen = { kind: "Runs", job: "", state: "", rows: [], more: false, failure: null };
let jobs = [];
let asked = 0;

function path(before) {
	const query = new URLSearchParams({ limit: PAGE });

	if (chosen.kind === "Audit")
		return `/api/v1/audit?${query}`;
	if (chosen.job)
		query.set("job", chosen.job);
	if (chosen.kind === "Backups")
		return `/api/v1/backups?${query}`;
	if (chosen.state)
		query.set("state", chosen.state);
	if (chosen.kind === "Restores")
		query.set("verb", "restore");
	if (before)
		query.set("before", before);
	return `/api/v1/runs?${query}`;
}

async function load(more) {
	const ticket = ++asked;
	const last = more && chosen.rows.length > 0 ? chosen.rows[chosen.rows.length - 1].started : null;

	try {
		const got = await getJson(path(last));
		const rows = got.runs || got.backups || got.entries;
		if (ticket !== asked)
			return;
		chosen.rows = more ? chosen.rows.concat(rows) : rows;
		chosen.more = Boolean(got.runs) && rows.length === PAGE;
		chosen.failure = null;
	} catch (error) {
		chosen.failure = error.message;
	}
	draw();
}

function at(text) {
	const ms = time.parse(text);

	return h("td", { class: "number", title: time.ago(ms) }, time.exactly(ms));
}

function runRow(run) {
	const took = run.finished ? time.span(time.parse(run.finished) - time.parse(run.started)) : "–";

	return h("tr", {},
		h("th", { scope: "row" }, h("a", { href: `#run=${encodeURIComponent(run.id)}`, "data-key": `list ${run.id}` }, run.job)),
		h("td", {}, run.verb), at(run.started), h("td", { class: "number" }, took), h("td", {}, result(run.state)),
		h("td", { class: "number" }, run.stored_bytes ? time.bytes(run.stored_bytes) : ""), h("td", { class: "cause" }, run.message));
}

function backupRow(backup) {
	const proof = backup.damaged ? "DAMAGED" : !backup.proved ? "unproven" : backup.level === null ? "not proved" : `L${backup.level}`;

	return h("tr", {},
		h("th", { scope: "row" }, h("a", { href: `#backup=${encodeURIComponent(backup.id)}`, "data-key": `list ${backup.id}` }, backup.id)),
		h("td", {}, backup.kind), at(backup.consistent_at), h("td", { class: "number" }, time.bytes(backup.stored_bytes)),
		h("td", { class: backup.damaged ? "critical" : "" }, proof), h("td", {}, backup.pinned ? `pinned ${backup.pin_reason || ""}` : backup.check_message));
}

function auditRow(entry) {
	return h("tr", {}, at(entry.at), h("td", {}, entry.who), h("th", { scope: "row" }, entry.action), h("td", {}, entry.subject), h("td", { class: "cause" }, entry.detail));
}

const TABLES = {
	Runs: [["Job", "What", "Began", "Took", "Result", "Stored", "Message"], runRow],
	Restores: [["Job", "What", "Began", "Took", "Result", "Stored", "Message"], runRow],
	Backups: [["Backup", "Kind", "State of", "Size", "Proved", "Remark"], backupRow],
	Audit: [["When", "Who", "Did", "To", "Why"], auditRow],
};

function choice(name, label, values) {
	return h("label", {}, `${label} `, h("select", { "data-key": `pick ${name}`,
		onchange: (event) => { chosen[name] = event.target.value; load(false); } },
	h("option", { value: "" }, "all"), values.map((value) => h("option", { value, selected: value === chosen[name] }, value))));
}

function draw() {
	const [heads, row] = TABLES[chosen.kind];
	const isRuns = chosen.kind === "Runs" || chosen.kind === "Restores";

	replace(byId("lists"),
		h("div", { class: "tools" },
			KINDS.map((kind) => h("button", { type: "button", "aria-pressed": String(kind === chosen.kind), "data-key": `kind ${kind}`,
				onclick: () => { chosen.kind = kind; chosen.rows = []; load(false); } }, kind)),
			chosen.kind !== "Audit" ? choice("job", "Job", jobs) : null,
			isRuns ? choice("state", "Result", STATES) : null,
			h("button", { type: "button", "data-key": "again", onclick: () => load(false) }, "Read again")),
		chosen.failure ? h("p", { class: "critical" }, chosen.failure) : null,
		chosen.rows.length === 0 ? h("p", { class: "muted" }, "None.")
			: h("div", { class: "scroll" }, h("table", {},
				h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
				h("tbody", {}, chosen.rows.map(row)))),
		chosen.more ? h("button", { type: "button", "data-key": "more", onclick: () => load(true) }, "Earlier ones") : null);
}

// The lists are read when somebody looks, not with each state.
export function showLists(state) {
	const names = state.jobs.map((job) => job.job);
	const isFirst = jobs.length === 0 && asked === 0;

	if (names.join("\n") !== jobs.join("\n")) {
		jobs = names;
		draw();
	}
	if (isFirst)
		load(false);
}
