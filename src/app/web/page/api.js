// Speaking with the server: reads carry nothing, writes carry the session's CSRF token.

import { setServerDate } from "./time.js";

export class Refused extends Error {
	constructor(status, error) {
		super(error.message || `the server answered ${status}`);
		this.status = status;
		this.hint = error.hint || null;
	}
}

async function check(reply) {
	setServerDate(reply.headers.get("Date"));
	if (reply.ok)
		return reply;
	let error = {};
	try {
		error = (await reply.json()).error || {};
	} catch { /* not from us */ }
	throw new Refused(reply.status, error);
}

// A request that hangs is one that failed.
export function get(path, headers = {}, limit = 10000) {
	return fetch(path, { headers, cache: "no-store", credentials: "same-origin",
		signal: AbortSignal.timeout(limit) });
}

export async function getJson(path) {
	return (await check(await get(path))).json();
}

let etag = null;

// The new state, or null when it is the one that we have.
export async function getState() {
	const reply = await get("/api/v1/state", etag ? { "If-None-Match": etag } : {}, 4500);

	if (reply.status === 304) {
		setServerDate(reply.headers.get("Date"));
		return null;
	}
	await check(reply);
	const state = await reply.json();
	etag = reply.headers.get("ETag");
	return state;
}

export async function getLog(id, from) {
	const reply = await check(await get(`/api/v1/runs/${encodeURIComponent(id)}/log?from=${from}`));

	return {
		text: await reply.text(),
		next: Number(reply.headers.get("X-Log-Next")),
		size: Number(reply.headers.get("X-Log-Size")),
		state: reply.headers.get("X-Run-State"),
	};
}

export const session = { who: null, csrf: null, can_log_in: false };

export async function loadSession() {
	Object.assign(session, await getJson("/api/v1/session"));
}

export async function post(path, value) {
	const reply = await check(await fetch(path, {
		method: "POST", body: JSON.stringify(value), credentials: "same-origin", cache: "no-store",
		headers: { "Content-Type": "application/json", ...(session.csrf ? { "X-CSRF-Token": session.csrf } : {}) },
		signal: AbortSignal.timeout(15000),
	}));

	return reply.json();
}
