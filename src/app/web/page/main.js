// Asks for the state every five seconds, shows it, and says loudly when it cannot.

import { byId, replace } from "./dom.js";
import { Refused, getState, loadSession } from "./api.js";
import { showAbnormal } from "./abnormal.js";
import { showAnswer } from "./answer.js";
import { leave, showBackup, showRun } from "./detail.js";
import { showLists } from "./lists.js";
import { showMatrix } from "./matrix.js";
import { onChange, showSession } from "./session.js";
import { shape } from "./shapes.js";
import { showTimeline } from "./timeline.js";
import { showTrends } from "./trends.js";
import * as time from "./time.js";

const POLL_MS = 5000;
const LOST_MS = 12000; // two polls that came to nothing

let state = null;
let heard = null; // when the server last answered, by this machine's steady clock
let failure = null;
let told = false; // the server itself said what is wrong
let spoken = "";
let timer = null;

function say(text) {
	if (text !== spoken)
		byId("spoken").textContent = text;
	spoken = text;
}

function show() {
	if (!state)
		return;
	const count = state.abnormal.filter((alarm) => !alarm.acknowledged && !alarm.shelved_until).length;

	time.setZone(state.timezone);
	document.title = `${count > 0 ? `(${count}) ` : ""}${state.site || state.store} – ${state.answer.word} – blackstart`;
	byId("site").textContent = state.site || state.store;
	byId("version").textContent = `blackstart ${state.version}`;
	showAnswer(state);
	showAbnormal(state);
	showMatrix(state);
	showTimeline(state);
	showTrends(state);
	showLists(state);
	say(`${state.answer.word}: ${state.answer.text}. ${count} abnormal.`);
}

function showContact() {
	const silence = heard === null ? null : performance.now() - heard;
	const isLost = failure !== null && (told || silence === null || silence > LOST_MS);

	document.body.classList.toggle("lost", isLost);
	if (!isLost) {
		if (byId("contact").firstChild)
			byId("contact").replaceChildren();
		return;
	}
	const text = told ? `NO STATE: ${failure}${silence === null ? "" : `. All below is of ${time.clockTime(time.now() - silence)}`}`
		: silence === null ? `NO CONTACT with blackstart: ${failure}`
		: `NO CONTACT with blackstart for ${time.span(silence)}: all below is of ${time.clockTime(time.now() - silence)}. Is it running? Type: systemctl status blackstart`;
	byId("site").textContent = state ? state.site || state.store : "blackstart";
	if (byId("contact").textContent.trim() !== text)
		replace(byId("contact"), shape("critical"), " ", text);
}

function tick() {
	byId("time").textContent = time.clockTime(time.now());
	byId("zone").textContent = `${time.today(time.now())}, ${time.zoneName()}`;
	showContact();
}

async function poll() {
	clearTimeout(timer);
	try {
		const got = await getState();
		heard = performance.now();
		failure = null;
		state = got || state;
		show();
	} catch (error) {
		told = error instanceof Refused;
		failure = error.name === "TimeoutError" ? "it does not answer"
			: error.hint ? `${error.message}. ${error.hint}` : error.message;
	}
	showContact();
	timer = setTimeout(poll, POLL_MS);
}

// "#run=ID", "#backup=ID", or the overview.
function route() {
	const [, kind, id] = location.hash.match(/^#(run|backup)=(.+)$/) || [];
	const isDetail = kind !== undefined;
	const wasDetail = !byId("detail").hidden;

	byId("overview").hidden = isDetail;
	byId("detail").hidden = !isDetail;
	if (!isDetail) {
		leave();
		byId("detail").replaceChildren();
		if (wasDetail)
			show();
		return;
	}
	let name = id;
	try {
		name = decodeURIComponent(id);
	} catch { /* as it is */ }
	if (kind === "run")
		showRun(name);
	else
		showBackup(name);
	byId("detail").focus();
}

addEventListener("hashchange", route);
addEventListener("resize", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
document.querySelector('script[src*="uplot"]').addEventListener("load", show);
onChange(poll);
setInterval(tick, 1000);
// The first state tells the site's zone, in which everything is shown.
poll().then(tick).then(route);
loadSession().then(showSession, () => {}).then(show);
