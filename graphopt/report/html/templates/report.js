"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);

  one("#theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  for (const button of all("[data-tab]")) {
    button.addEventListener("click", () => {
      for (const other of all("[data-tab]")) other.setAttribute("aria-selected", String(other === button));
      for (const pane of all("[data-pane]")) pane.hidden = pane.dataset.pane !== button.dataset.tab;
    });
  }
  for (const list of all("[role=tablist]")) { // one stop for the Tab key; arrows move within
    const tabs = all("[role=tab]", list);
    const settle = () => tabs.forEach((tab) => { tab.tabIndex = tab.getAttribute("aria-selected") === "true" ? 0 : -1; });
    list.addEventListener("click", () => settle());
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
      next.click();
      next.focus();
    });
    settle();
  }

  for (const button of all("[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source); // a file may not write to the clipboard everywhere
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  const table = one("#table");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const find = one("#find"), decision = one("#decision"), weighty = one("#weighty"), block = one("#block");

    const filter = () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        const fits = words.every((word) => texts[i].includes(word))
          && (!decision || !decision.value || row.dataset.keys.split(" ").includes(decision.value))
          && (!block || !block.value || row.dataset.b === block.value)
          && (!weighty || !weighty.checked || row.dataset.w === "1");
        row.hidden = !fits;
        shown += fits;
      });
      one("#count").textContent = shown === rows.length ? `${rows.length} layers` : `${shown} of ${rows.length} layers`;
    };
    for (const control of [find, decision, weighty, block]) if (control) control.addEventListener("input", filter);
    filter();

    const value = (row, column) => {
      const cell = row.cells[column];
      const raw = cell.dataset.v === undefined ? cell.textContent.trim().toLowerCase() : cell.dataset.v;
      return raw === "" ? null : Number.isNaN(Number(raw)) ? raw : Number(raw);
    };
    const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const numeric = head.classList.contains("r") && head.dataset.key !== "n";
        const before = head.getAttribute("aria-sort");
        const order = before ? (before === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const keyed = [...body.rows].map((row, i) => ({ row, i, key: value(row, column) }));
        keyed.sort((a, b) => (a.key === null) - (b.key === null) || (a.key === null ? 0 : sign * compare(a.key, b.key)) || a.i - b.i);
        body.append(...keyed.map((entry) => entry.row));
      });
    });
  }

  const go = (number) => {
    const row = document.getElementById(`l${number}`);
    if (!row) return;
    if (row.hidden) {
      one("#find").value = "";
      if (one("#decision")) one("#decision").value = "";
      if (one("#block")) one("#block").value = "";
      if (one("#weighty")) one("#weighty").checked = false;
      one("#find").dispatchEvent(new Event("input"));
    }
    for (const other of all("tr.here")) other.classList.remove("here");
    row.classList.add("here");
    row.scrollIntoView({ block: "center" });
  };
  for (const mark of all("[data-go]")) {
    mark.addEventListener("click", (event) => { event.preventDefault(); go(mark.dataset.go); });
  }

  const canvas = one("#canvas");
  if (!canvas) return;
  const detail = one("#detail");
  const facts = one("#facts") ? JSON.parse(one("#facts").content.textContent) : {};
  const sideTabs = all("#sides [data-side]"), kindTabs = all("#kinds [data-kind]"), trail = one("#trail");

  const make = (name, text, className) => { // only text is made of names, never markup
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const link = (text, act) => {
    const made = make("a", text, "d");
    made.href = "#layers";
    made.addEventListener("click", (event) => { event.preventDefault(); act(); });
    return made;
  };
  const number = (value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(4))));
  const weight = (one) => {
    const shape = one.shape.join("×") || "scalar";
    const range = one.least === null ? "" : `, ${number(one.least)} to ${number(one.most)}, mean ${number(one.mean)}, std ${number(one.std)}`;
    const zeros = one.zeros ? `, ${number(100 * one.zeros)} % zeros` : "";
    return `${one.name}: ${one.dtype} ${shape}${range}${zeros}`;
  };
  const described = (known, title) => {
    const list = make("dl", undefined, "facts");
    const add = (key, value) => { if (value) list.append(make("dt", key), make("dd", value)); };
    add("Inputs", known.inputs.filter(Boolean).join(", "));
    add("Outputs", known.outputs.filter(Boolean).join(", "));
    add("Attributes", Object.entries(known.attributes).map(([key, value]) => `${key}=${value}`).join(" · "));
    for (const one of known.weights) add("Weight", weight(one));
    const box = make("details");
    box.open = true;
    box.append(make("summary", title), list);
    return box;
  };

  const tell = (row, name) => {
    const close = make("button", "×", "close");
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => view.select(null));
    detail.replaceChildren(close, make("b", name));
    if (row.startsWith("b")) {
      detail.append(link("Open this block", () => show(view.side, row)), ...blockRows(row));
      return;
    }
    const line = document.getElementById(`l${row}`);
    if (!line) return;
    const cells = all("td[data-l]", line).filter((cell) => cell.textContent.trim());
    detail.append(make("span", [line.querySelector(".op").textContent, ...cells.map((cell) => `${cell.dataset.l} ${cell.textContent.trim()}`)].join(" · "), "muted"));
    const why = line.querySelector(".why");
    detail.append(...[...(why ? why.childNodes : [])].map((child) => child.cloneNode(true)));
    const [before, after] = facts[row] || [null, null];
    if (before) detail.append(described(before, after ? "In the original" : "In the model"));
    if (after && JSON.stringify(after) !== JSON.stringify(before)) detail.append(described(after, "In the result"));
    detail.append(link("Show in the table", () => go(row)));
  };
  const blockRows = (row) => {
    const select = one("#block");
    if (!select || view.side !== "original") return [];
    return [link("Show its layers in the table", () => {
      select.value = row;
      select.dispatchEvent(new Event("input"));
      one("#layers").scrollIntoView();
    })];
  };

  const view = graphView(canvas, {
    onSelect: (row, name) => { detail.hidden = row === null; if (row !== null) tell(row, name); },
    onOpen: (row) => { if (row.startsWith("b")) show(view.side, row); else go(row); },
    onLeave: () => { if (view.kind.startsWith("b") && view.kind !== "blocks") show(view.side, "blocks"); },
  });
  const drawings = new Map(all("template[data-view]").map((one) => [one.dataset.view, one]));
  const show = (side, kind) => {
    const has = (key) => key === `${canvas.dataset.side}:${canvas.dataset.kind}` || drawings.has(key);
    const found = [kind, "blocks", "nodes"].find((each) => has(`${side}:${each}`));
    if (!found) return;
    const current = `${canvas.dataset.side}:${canvas.dataset.kind}`;
    if (!drawings.has(current)) { // the drawing that came with the page
      const kept = document.createElement("template");
      kept.content.append(canvas.querySelector(".net").cloneNode(true));
      drawings.set(current, kept);
    }
    const template = drawings.get(`${side}:${found}`);
    Object.assign(canvas.dataset, { side, kind: found });
    view.replace(template.content.querySelector(".net").cloneNode(true), side, found);
    for (const tab of sideTabs) tab.setAttribute("aria-selected", String(tab.dataset.side === side));
    const whole = found === "nodes" ? "nodes" : "blocks";
    for (const tab of kindTabs) tab.setAttribute("aria-selected", String(tab.dataset.kind === whole));
    if (trail) {
      trail.hidden = found === "nodes" || found === "blocks";
      trail.querySelector("span").textContent = template.dataset.title || "";
    }
  };
  view.side = canvas.dataset.side;
  view.kind = canvas.dataset.kind;
  for (const tab of sideTabs) tab.addEventListener("click", () => show(tab.dataset.side, view.kind === "nodes" ? "nodes" : "blocks"));
  for (const tab of kindTabs) tab.addEventListener("click", () => show(view.side, tab.dataset.kind));
  if (trail) trail.querySelector("button").addEventListener("click", () => show(view.side, "blocks"));
  for (const button of all("[data-zoom]")) button.addEventListener("click", () => view.zoom(button.dataset.zoom));

  for (const button of all("#colouring [data-by]")) {
    button.addEventListener("click", () => {
      canvas.dataset.by = button.dataset.by;
      for (const other of all("#colouring [data-by]")) other.setAttribute("aria-selected", String(other === button));
      for (const legend of all(".legend")) legend.hidden = legend.dataset.for !== button.dataset.by;
    });
  }
})();
