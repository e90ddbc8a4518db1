// Drives Debian's chromium over the page for test_page.py:
//   node page_browser.mjs SCENARIO URL '{"shots": DIR or null, ...}'
// and prints what it saw as one JSON object. BROWSER_ROOT is what tools/browser prints.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.env.BROWSER_ROOT, "node_modules/x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [scenario, url, given] = process.argv.slice(2);
const options = JSON.parse(given || "{}");
const seen = { console: [], errors: [], foreign: [], dialogs: [] };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });

async function open(settings = {}, where = "") {
	const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", timezoneId: "America/Lima", ...settings });
	const page = await context.newPage();
	page.on("console", (message) => { if (message.type() !== "log") seen.console.push(message.text()); });
	page.on("pageerror", (error) => seen.errors.push(error.message));
	page.on("dialog", (dialog) => { seen.dialogs.push(dialog.message()); dialog.dismiss(); });
	page.on("request", (request) => { if (!request.url().startsWith(url)) seen.foreign.push(request.url()); });
	await page.goto(url + where);
	await page.waitForSelector("#matrix table, #matrix p, #detail dl", { state: "attached" });
	return page;
}

async function shot(page, name, full = false) {
	if (options.shots)
		await page.screenshot({ path: path.join(options.shots, `${name}.png`), fullPage: full });
}

// axe runs in a world of its own, so that the page's own policy may forbid scripts.
async function violations(page) {
	const session = await page.context().newCDPSession(page);
	const tree = await session.send("Page.getFrameTree");
	const world = await session.send("Page.createIsolatedWorld", { frameId: tree.frameTree.frame.id, worldName: "axe" });
	await session.send("Runtime.evaluate", { expression: axe, contextId: world.executionContextId });
	const result = await session.send("Runtime.evaluate", { contextId: world.executionContextId, awaitPromise: true, returnByValue: true,
		expression: "axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160) + ' ' + n.failureSummary.slice(0, 200)).slice(0, 3).join(' | ')}`))" });
	return result.result.value;
}

// What on the page has a colour: every text, fill, line and ground that is not grey.
function colours(page) {
	return page.evaluate(() => {
		const found = new Set();
		for (const element of document.querySelectorAll("body, body *")) {
			const box = element.getBoundingClientRect();
			if (box.width === 0 || box.height === 0)
				continue;
			const style = getComputedStyle(element);
			const isShape = element instanceof SVGElement;
			for (const name of isShape ? ["fill", "stroke"] : ["color", "backgroundColor", "borderTopColor"]) {
				const numbers = (style[name].match(/[\d.]+/g) || []).map(Number);
				if (numbers.length < 3 || (numbers.length > 3 && numbers[3] === 0) || !style[name].startsWith("rgb"))
					continue;
				if (Math.max(...numbers.slice(0, 3)) - Math.min(...numbers.slice(0, 3)) > 16)
					found.add(`${element.tagName}.${element.getAttribute("class") || ""} ${name} ${style[name]}`);
			}
		}
		return [...found];
	});
}

function bottomOf(page, selector) {
	return page.evaluate((name) => document.querySelector(name).getBoundingClientRect().bottom + scrollY, selector);
}

const scenarios = {
	// Look at it in light and dark.
	async look() {
		const result = {};
		for (const scheme of ["light", "dark"]) {
			const page = await open({ colorScheme: scheme });
			await page.waitForFunction(() => document.querySelectorAll("#trends h3").length > 0 && window.uPlot);
			await shot(page, `${options.name}-${scheme}`);
			if (options.full)
				await shot(page, `${options.name}-${scheme}-full`, true);
			result[scheme] = {
				colours: await colours(page), axe: await violations(page), title: await page.title(),
				bottom: await bottomOf(page, "#matrix"), wide: await page.evaluate(() => document.documentElement.scrollWidth),
				text: await page.evaluate(() => document.body.innerText), spoken: await page.textContent("#spoken"),
				signs: await page.evaluate(() => [...document.querySelectorAll(".critical svg.shape, .warning svg.shape")].map((shape) => shape.parentElement.textContent.trim())),
			};
			await page.context().close();
		}
		return result;
	},

	async speed() {
		const times = [];
		for (let n = 0; n < 5; n++) {
			const page = await open();
			times.push(await page.evaluate(() => new Promise((resolve) => {
				// The first frame in which the matrix is there.
				const look = () => document.querySelector("#matrix table") ? resolve(performance.now()) : requestAnimationFrame(look);
				look();
			})));
			const marks = await page.evaluate(() => ({ interactive: performance.getEntriesByType("navigation")[0].domInteractive,
				state: performance.getEntriesByType("resource").find((entry) => entry.name.endsWith("/state")).responseEnd,
				matrix: performance.getEntriesByName("shown")[0]?.startTime ?? null }));
			times[n] = marks;
			await page.context().close();
		}
		return { times };
	},

	// Everything by keyboard: where the focus goes, and that it is seen there.
	async keyboard() {
		const page = await open();
		const stops = [];
		for (let n = 0; n < 400; n++) {
			await page.keyboard.press("Tab");
			const stop = await page.evaluate(() => {
				const element = document.activeElement;
				if (!element || element === document.body)
					return null;
				const box = element.getBoundingClientRect();
				const style = getComputedStyle(element);
				return { name: element.getAttribute("aria-label") || element.textContent.trim().slice(0, 60) || element.tagName,
					role: element.getAttribute("role") || element.tagName.toLowerCase(), tab: element.tabIndex,
					isSeen: box.width > 0 && box.height > 0 && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
			});
			if (stop === null)
				break;
			stops.push(stop);
		}
		// The timeline: to a point by the arrows, Enter for its plan.
		const lane = page.locator('[role="slider"]').first();
		await lane.focus();
		await page.keyboard.press("PageDown");
		const before = await lane.getAttribute("aria-valuetext");
		await page.keyboard.press("ArrowLeft");
		const after = await lane.getAttribute("aria-valuetext");
		await page.keyboard.press("Enter");
		await page.waitForSelector("#plan .plan");
		await shot(page, "plan");
		const plan = await page.textContent("#plan");
		const holds = await page.evaluate(() => document.activeElement.getAttribute("role"));
		// A poll later the focus is still there.
		await page.waitForTimeout(5600);
		return { stops, before, after, plan, holds, still: await page.evaluate(() => document.activeElement.getAttribute("role")), axe: await violations(page) };
	},

	async hostile() {
		const page = await open();
		await page.waitForSelector("#lists table");
		await page.locator("#lists a").first().click();
		await page.waitForSelector("#detail pre");
		await page.waitForFunction(() => document.querySelector("#log").textContent.length > 0);
		const detail = await page.evaluate(() => document.querySelector("#detail").innerText);
		await shot(page, "hostile");
		await page.goBack();
		return { detail, text: await page.evaluate(() => document.querySelector("#overview").innerText),
			scripts: await page.evaluate(() => document.querySelectorAll("script").length), images: await page.evaluate(() => document.images.length) };
	},

	// The server goes away and comes back; the other side waits for "ready" lines.
	async contact() {
		const page = await open();
		const states = [];
		const banner = () => page.evaluate(() => document.querySelector("#contact").innerText.trim());
		states.push(await banner());
		console.error("loaded");
		await page.waitForFunction(() => document.querySelector("#contact").innerText.includes("NO CONTACT"), null, { timeout: 40000 });
		await page.waitForTimeout(1500);
		states.push(await banner());
		await shot(page, "no-contact");
		const axeWhileLost = await violations(page);
		console.error("lost");
		await page.waitForFunction(() => document.querySelector("#contact").innerText.trim() === "", null, { timeout: 40000 });
		states.push(await banner());
		return { states, axe: axeWhileLost };
	},

	async refused() {
		const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
		await page.goto(url);
		await page.waitForFunction(() => document.querySelector("#contact").innerText.trim() !== "");
		await shot(page, "no-store");
		return { banner: await page.textContent("#contact") };
	},

	async run() {
		const page = await open({}, `#run=${encodeURIComponent(options.run)}`);
		await page.waitForFunction(() => document.querySelector("#log").textContent.includes("\n"));
		const first = await page.evaluate(() => document.querySelector("#detail").innerText);
		await shot(page, "run");
		console.error("followed");
		await page.waitForFunction((text) => document.querySelector("#log").textContent.includes(text), options.later, { timeout: 20000 });
		return { first, axe: await violations(page), live: await page.textContent("#log-state"), title: await page.title() };
	},

	async login() {
		const page = await open();
		await page.click("#session button");
		await page.fill('input[name="name"]', "anna");
		await page.fill('input[name="token"]', "wrong");
		await page.click('dialog button[type="submit"]');
		await page.waitForSelector('dialog [role="alert"]');
		const refused = await page.textContent("dialog");
		await page.keyboard.press("Escape");
		await page.click("#session button");
		await page.fill('input[name="name"]', "anna");
		await page.fill('input[name="token"]', options.token);
		await page.keyboard.press("Enter");
		await page.waitForFunction(() => document.querySelector("#session").innerText.includes("anna"));
		await page.click('[aria-label^="Acknowledge job_failed"]');
		const dialogAxe = await violations(page);
		await shot(page, "acknowledge");
		await page.fill('dialog input[name="why"]', "a new cable is on its way");
		await page.keyboard.press("Enter");
		await page.waitForFunction(() => document.querySelector("#abnormal").innerText.includes("acknowledged"), null, { timeout: 15000 });
		await page.click('[data-key="kind Audit"]');
		await page.waitForFunction(() => document.querySelector("#lists").innerText.includes("cable"));
		const audit = await page.evaluate(() => document.querySelector("#lists table").innerText);
		const storage = await page.evaluate(() => ({ cookie: document.cookie, local: { ...localStorage }, session: { ...sessionStorage } }));
		await page.click("#session button");
		await page.waitForFunction(() => document.querySelector("#session").innerText.trim() === "Log in");
		return { refused, audit, storage, axe: dialogAxe };
	},

	async many() {
		const page = await open();
		await page.waitForSelector("#lists table");
		let rows = 0;
		for (let n = 0; n < 9; n++) {
			rows = await page.locator("#lists tbody tr").count();
			await page.click('[data-key="more"]');
			await page.waitForFunction((before) => document.querySelectorAll("#lists tbody tr").length > before, rows);
		}
		rows = await page.locator("#lists tbody tr").count();
		await page.locator("#lists").scrollIntoViewIfNeeded();
		await shot(page, "thousand-runs");
		await page.selectOption('[data-key="pick state"]', "failed");
		await page.waitForFunction(() => [...document.querySelectorAll("#lists tbody tr")].every((row) => row.innerText.includes("failed")));
		return { rows, axe: await violations(page) };
	},
};

let result;
try {
	result = await scenarios[scenario]();
} finally {
	await browser.close();
}
console.log(JSON.stringify({ ...result, ...seen }));
