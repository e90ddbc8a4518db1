// Logging in, and the three things that may be done here then.

import { byId, h, replace } from "./dom.js";
import { post, session } from "./api.js";

let changed = () => {};

export function onChange(call) {
	changed = call;
}

export function mayAct() {
	return session.csrf !== null;
}

// A dialog with a form; resolves to its values, or null.
function ask(title, fields, word) {
	const dialog = byId("dialog");

	return new Promise((resolve) => {
		const form = h("form", { method: "dialog" },
			h("h3", { id: "dialog-title" }, title), fields,
			h("div", { class: "buttons" },
				h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
				h("button", { type: "submit", value: "yes" }, word)));
		dialog.setAttribute("aria-labelledby", "dialog-title");
		dialog.replaceChildren(form);
		dialog.onclose = () => {
			resolve(dialog.returnValue === "yes" ? Object.fromEntries(new FormData(form)) : null);
			dialog.replaceChildren();
		};
		dialog.returnValue = "";
		dialog.showModal();
	});
}

function tell(title, text) {
	return ask(title, h("p", { role: "alert" }, text), "Close");
}

// Try again until it works or they give up.
async function attempt(title, path, value) {
	try {
		await post(path, value);
	} catch (error) {
		if (error.status === 401)
			Object.assign(session, { who: null, csrf: null });
		await tell(`${title}: refused`, `${error.message}${error.hint ? `. ${error.hint}` : ""}`);
	}
	showSession();
	changed();
}

const field = (label, attributes) => h("label", {}, label, h("input", attributes));
const WHY = () => field("Why (others will read it)", { name: "why", maxlength: 400, required: true, autocomplete: "off" });

export async function acknowledge(alarm) {
	const title = `Acknowledge ${alarm.rule} ${alarm.subject}`;
	const values = await ask(title, WHY(), "Acknowledge");

	if (values)
		await attempt(title, "/api/v1/alarms/ack", { alarm: `${alarm.rule}/${alarm.subject}`, why: values.why });
}

export async function shelve(alarm) {
	const title = `Shelve ${alarm.rule} ${alarm.subject}`;
	const spans = { "1h": "1 hour", "4h": "4 hours", "1d": "1 day", "7d": "7 days" };
	const values = await ask(title, [h("label", {}, "For how long",
		h("select", { name: "for" }, Object.entries(spans).map(([value, text]) => h("option", { value }, text)))), WHY()], "Shelve");

	if (values)
		await attempt(title, "/api/v1/alarms/shelve", { alarm: `${alarm.rule}/${alarm.subject}`, for: values.for, why: values.why });
}

export async function runNow(job) {
	const title = `Run ${job} now`;
	const values = await ask(title, h("p", {}, "It runs as soon as nothing else of its source does."), "Run");

	if (values)
		await attempt(title, `/api/v1/jobs/${encodeURIComponent(job)}/run`, {});
}

async function logIn() {
	const values = await ask("Log in", [
		field("Your name, for the audit", { name: "name", maxlength: 40, autocomplete: "username" }),
		field("Token (web.token_file)", { name: "token", type: "password", required: true, autocomplete: "current-password" })], "Log in");

	if (!values)
		return;
	try {
		Object.assign(session, await post("/api/v1/login", values));
	} catch (error) {
		await tell("Not logged in", `${error.message}${error.hint ? `. ${error.hint}` : ""}`);
	}
	showSession();
	changed();
}

async function logOut() {
	try {
		await post("/api/v1/logout", {});
	} catch { /* the session is over anyway */ }
	Object.assign(session, { who: null, csrf: null });
	showSession();
	changed();
}

export function showSession() {
	const target = byId("session");

	if (mayAct())
		replace(target, h("span", { class: "muted" }, session.who, " "), h("button", { type: "button", "data-key": "session", onclick: logOut }, "Log out"));
	else
		replace(target, session.can_log_in ? h("button", { type: "button", "data-key": "session", onclick: logIn }, "Log in") : null);
}
