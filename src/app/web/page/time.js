// Times in the site's zone, and how long ago. The clock is the server's: a wrong clock on this
// machine must not make a backup look fresh.

let offset = 0; // server minus this machine, in ms
let zone = "UTC";
const formats = {};

export function setServerDate(text) {
	const at = Date.parse(text);

	// The header has whole seconds, so it is on average half a second behind.
	if (Number.isFinite(at) && Math.abs(at + 500 - (Date.now() + offset)) > 1500)
		offset = at + 500 - Date.now();
}

export function setZone(name) {
	if (name === zone)
		return;
	try {
		new Intl.DateTimeFormat("en", { timeZone: name });
		zone = name;
	} catch {
		zone = "UTC";
	}
	for (const key of Object.keys(formats))
		delete formats[key];
}

export function zoneName() {
	return zone;
}

export function now() {
	return Date.now() + offset;
}

// Milliseconds, from RFC 3339 or null.
export function parse(text) {
	return text ? Date.parse(text) : null;
}

function format(key, options) {
	formats[key] ??= new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
	return formats[key];
}

const two = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };

// "15 Nov 00:30", with the year when it is far away.
export function when(ms) {
	if (!ms)
		return "–";
	const far = Math.abs(now() - ms) > 300 * 86400e3;
	return format(far ? "far" : "near", far ? { ...two, year: "numeric" } : two).format(ms).replace(",", "");
}

export function exactly(ms) {
	return ms ? format("exact", { ...two, year: "numeric", second: "2-digit" }).format(ms).replace(",", "") : "–";
}

export function day(ms) {
	return format("day", { month: "short", day: "numeric" }).format(ms);
}

export function clockTime(ms) {
	return format("clock", { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(ms);
}

export function hourMinute(ms) {
	return format("minute", { hour: "2-digit", minute: "2-digit" }).format(ms);
}

export function today(ms) {
	return format("today", { weekday: "short", month: "short", day: "numeric", year: "numeric" }).format(ms);
}

// "3 h", "2 d 4 h": how long, roughly.
export function span(ms) {
	const seconds = Math.round(Math.abs(ms) / 1000);
	const minutes = Math.floor(seconds / 60);
	const hours = Math.floor(minutes / 60);
	const days = Math.floor(hours / 24);

	if (seconds < 60)
		return `${seconds} s`;
	if (minutes < 90)
		return `${minutes} min`;
	if (hours < 10)
		return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
	if (hours < 48)
		return `${hours} h`;
	return days < 10 && hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

export function ago(ms) {
	if (!ms)
		return "never";
	const past = now() - ms;
	if (Math.abs(past) < 2000)
		return "just now";
	return past > 0 ? `${span(past)} ago` : `in ${span(past)}`;
}

export function bytes(count) {
	const units = ["B", "kB", "MB", "GB", "TB", "PB"];
	let at = 0;

	if (count === null || count === undefined)
		return "–";
	while (count >= 999.5 && at < units.length - 1) {
		count /= 1000;
		at++;
	}
	return `${at === 0 || count >= 99.95 ? Math.round(count) : count.toFixed(1)} ${units[at]}`;
}
