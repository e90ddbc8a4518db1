// Elements by function. Text from outside only ever becomes a text node or an attribute's value.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
	for (const [name, value] of Object.entries(attributes || {})) {
		if (value === null || value === undefined || value === false)
			continue;
		if (name.startsWith("on"))
			element.addEventListener(name.slice(2), value);
		else
			element.setAttribute(name, value === true ? "" : String(value));
	}
	for (const child of children.flat(Infinity)) {
		if (child !== null && child !== undefined && child !== false)
			element.append(child instanceof Node ? child : String(child));
	}
	return element;
}

export function h(tag, attributes, ...children) {
	return fill(document.createElement(tag), attributes, children);
}

export function s(tag, attributes, ...children) {
	return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function byId(id) {
	return document.getElementById(id);
}

// Put new content in the place of the old; what had the focus keeps it, by its data-key.
export function replace(target, ...children) {
	const focused = target.contains(document.activeElement)
		? document.activeElement.closest("[data-key]") : null;
	const key = focused ? focused.dataset.key : null;
	const scrolled = [...target.querySelectorAll(".scroll")].map((element) => element.scrollTop);

	target.replaceChildren(...children.flat(Infinity).filter((child) => child));
	target.querySelectorAll(".scroll").forEach((element, at) => {
		element.scrollTop = scrolled[at] || 0;
	});
	if (key !== null) {
		const again = target.querySelector(`[data-key="${CSS.escape(key)}"]`);
		if (again)
			again.focus({ preventScroll: true });
	}
}

export function copyButton(text, key) {
	const button = h("button", {
		type: "button", class: "copy", "data-key": key, "aria-label": `Copy: ${text}`,
		onclick: async () => {
			try {
				await navigator.clipboard.writeText(text);
				button.textContent = "copied";
			} catch {
				button.textContent = "select it";
			}
		},
	}, "copy");
	return button;
}

export function command(text, key) {
	return text ? h("span", {}, h("code", { class: "command" }, text), copyButton(text, key)) : null;
}
