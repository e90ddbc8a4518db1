// The page of one run, and of one backup.

import { byId, command, h, replace } from "./dom.js";
import { getJson, getLog } from "./api.js";
import { result, sign } from "./shapes.js";
import * as time from "./time.js";

const LOG_SHOWN = 2 * 1024 * 1024;

let current = null; // what is shown, so that late answers are dropped
let timer = null;

function entry(name, value) {
	return value === null || value === undefined || value === "" ? null : [h("dt", {}, name), h("dd", {}, value)];
}

// The log's own lines tell when each phase began.
function phasesOf(text, end) {
	const found = [...text.matchAll(/^(\S+) debug (?:run=\S+ )?phase: (.*)$/gm)].map((match) => ({ at: Date.parse(match[1]), name: match[2] }));

	return found.map((phase, at) => ({ ...phase, took: (at + 1 < found.length ? found[at + 1].at : end || time.now()) - phase.at }));
}

function phases(text, run) {
	const rows = phasesOf(text, time.parse(run.finished));

	return rows.length === 0 ? h("p", { class: "muted" }, "None were told.")
		: h("table", {}, h("thead", {}, h("tr", {}, ["Phase", "Began", "Took"].map((head) => h("th", { scope: "col" }, head)))),
			h("tbody", {}, rows.map((phase) => h("tr", {}, h("th", { scope: "row" }, phase.name), h("td", { class: "number" }, time.exactly(phase.at)),
				h("td", { class: "number" }, time.span(phase.took))))));
}

function back() {
	return h("p", {}, h("a", { href: "#", "data-key": "back" }, "Back to the overview"));
}

async function follow(id, run, from, seen) {
	const log = byId("log");
	let piece;

	try {
		piece = await getLog(id, from);
	} catch (error) {
		if (current === id)
			byId("log-state").textContent = error.message;
		return;
	}
	if (current !== id)
		return;
	const text = seen + piece.text;
	const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 30;
	log.append(piece.text);
	if (atEnd)
		log.scrollTop = log.scrollHeight;
	replace(byId("phases"), phases(text, run));
	const isLive = piece.state === "running";
	const hasMore = piece.next < piece.size && piece.text !== "";
	byId("log-state").textContent = isLive ? "live" : text.length > LOG_SHOWN ? "cut: the rest with the command above" : "whole";
	if (hasMore && text.length <= LOG_SHOWN)
		await follow(id, run, piece.next, text);
	else if (isLive)
		timer = setTimeout(() => follow(id, run, piece.next, text), 1000);
	else if (run.state === "running")
		showRun(id);
}

export async function showRun(id) {
	clearTimeout(timer);
	current = id;
	let got;
	try {
		got = await getJson(`/api/v1/runs/${encodeURIComponent(id)}`);
	} catch (error) {
		replace(byId("detail"), back(), h("section", {}, h("p", {}, sign("critical", error.message))));
		return;
	}
	if (current !== id)
		return;
	const run = got.run;
	const took = (run.finished ? time.parse(run.finished) : time.now()) - time.parse(run.started);
	replace(byId("detail"), back(),
		h("section", { "aria-label": "Run" }, h("h2", {}, `${run.verb} of ${run.job}`), h("dl", { class: "details" },
			entry("Run", run.id), entry("Source", run.source), entry("Result", result(run.state)),
			entry("Began", `${time.exactly(time.parse(run.started))} (${time.ago(time.parse(run.started))})`), entry("Took", time.span(took)),
			entry("Backup", run.backup ? h("a", { href: `#backup=${encodeURIComponent(run.backup)}` }, run.backup) : null),
			entry("Stored", run.stored_bytes ? `${time.bytes(run.stored_bytes)} of ${time.bytes(run.source_bytes)} read` : null),
			entry("Message", run.message), entry("Hint", run.hint),
			entry("The same again", command(got.command, "copy command")), entry("Its log in a terminal", command(got.log_command, "copy log")))),
		h("section", { "aria-label": "Phases" }, h("h2", {}, "Phases"), h("div", { id: "phases" })),
		h("section", { "aria-label": "Log" }, h("h2", {}, "Log ", h("span", { id: "log-state", class: "muted" })),
			h("pre", { id: "log", tabindex: "0", "aria-label": "Log" })),
		run.backup ? h("section", { id: "manifest", "aria-label": "Manifest" }) : null);
	follow(id, run, 0, "");
	if (run.backup)
		showManifest(run.backup, id);
}

async function showManifest(backupId, owner) {
	let got;

	try {
		got = await getJson(`/api/v1/backups/${encodeURIComponent(backupId)}`);
	} catch (error) {
		got = { manifest: null, manifest_failure: error.message };
	}
	if (current === owner && byId("manifest"))
		replace(byId("manifest"), manifest(got));
}

function manifest(got) {
	const files = got.manifest ? got.manifest.files : [];

	return [h("h2", {}, "Manifest"), got.manifest_failure ? h("p", {}, sign("warning", got.manifest_failure)) : null,
		files.length > 0 ? h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["File", "Bytes", "SHA-256"].map((head) => h("th", { scope: "col" }, head)))),
			h("tbody", {}, files.slice(0, 200).map((file) => h("tr", {}, h("th", { scope: "row" }, file.name), h("td", { class: "number" }, file.bytes),
				h("td", {}, h("code", {}, file.sha256))))))) : null,
		got.manifest ? h("details", {}, h("summary", {}, "All of it"), h("pre", { tabindex: "0", "aria-label": "Manifest" }, JSON.stringify(got.manifest, null, 2))) : null];
}

export async function showBackup(id) {
	clearTimeout(timer);
	current = id;
	let got;
	try {
		got = await getJson(`/api/v1/backups/${encodeURIComponent(id)}`);
	} catch (error) {
		replace(byId("detail"), back(), h("section", {}, h("p", {}, sign("critical", error.message))));
		return;
	}
	if (current !== id)
		return;
	const row = got.backup;
	replace(byId("detail"), back(),
		h("section", { "aria-label": "Backup" }, h("h2", {}, `${row.kind} of ${row.source}`), h("dl", { class: "details" },
			entry("Backup", row.id), entry("Job", row.job), entry("State of", `${time.exactly(time.parse(row.consistent_at))} (${time.ago(time.parse(row.consistent_at))})`),
			entry("Size", `${time.bytes(row.stored_bytes)} stored, ${time.bytes(row.content_bytes)} before compression`),
			entry("Proved", row.damaged ? sign("critical", `DAMAGED: ${row.check_message || ""}`) : row.level === null ? "not yet" : `L${row.level}, ${time.ago(time.parse(row.level_at))}`),
			entry("Pinned", row.pinned ? row.pin_reason || "yes" : null), entry("In a terminal", command(got.command, "copy show")))),
		h("section", { id: "manifest", "aria-label": "Manifest" }, manifest(got)));
}

export function leave() {
	clearTimeout(timer);
	current = null;
}
