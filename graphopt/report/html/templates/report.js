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
    const find = one("#find"), decision = one("#decision"), weighty = one("#weighty");

    const filter = () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        const fits = words.every((word) => texts[i].includes(word))
          && (!decision || !decision.value || row.dataset.keys.split(" ").includes(decision.value))
          && (!weighty || !weighty.checked || row.dataset.w === "1");
        row.hidden = !fits;
        shown += fits;
      });
      one("#count").textContent = shown === rows.length ? `${rows.length} layers` : `${shown} of ${rows.length} layers`;
    };
    for (const control of [find, decision, weighty]) if (control) control.addEventListener("input", filter);
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
      one("#decision").value = "";
      one("#weighty").checked = false;
      one("#find").dispatchEvent(new Event("input"));
    }
    for (const other of all("tr.here")) other.classList.remove("here");
    row.classList.add("here");
    row.scrollIntoView({ block: "center" });
  };
  for (const mark of all("[data-go]")) mark.addEventListener("click", () => go(mark.dataset.go));

  const net = one("#net");
  if (!net) return;
  const canvas = one("#canvas"), detail = one("#detail");
  const whole = net.viewBox.baseVal;
  const fit = { x: whole.x, y: whole.y, w: whole.width, h: whole.height };
  let view = { ...fit };

  const show = () => {
    net.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
    const scale = Math.min(canvas.clientWidth / view.w, canvas.clientHeight / view.h);
    canvas.classList.toggle("far", scale < 0.42);
    canvas.classList.toggle("near", view.w < fit.w * 0.98);
  };
  const place = (x, y) => {
    const matrix = net.getScreenCTM().inverse();
    return new DOMPoint(x, y).matrixTransform(matrix);
  };
  const zoom = (factor, x, y) => {
    const w = Math.min(Math.max(view.w * factor, 240), fit.w * 1.6);
    const real = w / view.w;
    view = { x: x - (x - view.x) * real, y: y - (y - view.y) * real, w, h: view.h * real };
    show();
  };
  const middle = () => [view.x + view.w / 2, view.y + view.h / 2];
  for (const button of all("[data-zoom]")) {
    button.addEventListener("click", () => {
      if (button.dataset.zoom === "fit") { view = { ...fit }; show(); }
      else zoom(button.dataset.zoom === "in" ? 0.66 : 1.5, ...middle());
    });
  }
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls as anywhere else
    event.preventDefault();
    const at = place(event.clientX, event.clientY);
    zoom(Math.exp(event.deltaY * 0.0022), at.x, at.y);
  }, { passive: false });

  const fingers = new Map();
  let moved = 0;
  net.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    moved = 0;
  });
  addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const unit = view.w / Math.min(canvas.clientWidth, canvas.clientHeight * view.w / view.h);
    if (fingers.size === 1) {
      if (event.pointerType === "touch" && !canvas.classList.contains("near")) return;
      view = { ...view, x: view.x - (now[0] - before[0]) * unit, y: view.y - (now[1] - before[1]) * unit };
      show();
    } else if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const span = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
      const at = place((now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      zoom(span(before) / span(now), at.x, at.y);
    }
    moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
    fingers.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, (event) => fingers.delete(event.pointerId));

  net.addEventListener("click", (event) => {
    const node = event.target.closest(".n");
    if (moved > 6) return;
    for (const other of all(".n.here")) other.classList.remove("here");
    detail.hidden = !node;
    if (!node) return;
    node.classList.add("here");
    tell(node.dataset.row, node.querySelector("title").textContent);
  });

  const tell = (number, name) => { // only text is made of names, never markup
    const row = document.getElementById(`l${number}`);
    const title = document.createElement("b");
    title.textContent = name;
    detail.replaceChildren(title);
    if (!row) return;
    const facts = all("td[data-l]", row).filter((cell) => cell.textContent.trim());
    const line = document.createElement("span");
    line.className = "muted";
    line.textContent = [row.querySelector(".op").textContent, ...facts.map((cell) => `${cell.dataset.l} ${cell.textContent.trim()}`)].join(" · ");
    const why = row.querySelector(".why");
    detail.append(line, ...[...(why ? why.childNodes : [])].map((child) => child.cloneNode(true)));
    const link = document.createElement("a");
    link.href = "#layers";
    link.className = "d";
    link.textContent = "Show in the table";
    link.addEventListener("click", (event) => { event.preventDefault(); go(number); });
    detail.append(link);
  };

  for (const button of all("#colouring [data-by]")) {
    button.addEventListener("click", () => {
      canvas.dataset.by = button.dataset.by;
      for (const other of all("#colouring [data-by]")) other.setAttribute("aria-selected", String(other === button));
      for (const legend of all(".legend")) legend.hidden = legend.dataset.for !== button.dataset.by;
    });
  }
  addEventListener("resize", show);
  new IntersectionObserver(show).observe(canvas); // nothing is drawn before it is seen
})();
