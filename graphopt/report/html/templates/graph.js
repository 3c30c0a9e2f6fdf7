"use strict";
/* A drawing of a graph in a canvas: it moves, zooms, and its nodes can be chosen by pointer and keyboard.

   on.onSelect(row, name) with null for none, on.onOpen(row) for Enter or a double click, on.onLeave() for Escape. */
const graphView = (canvas, on) => {
  const all = (selector, within = canvas) => [...within.querySelectorAll(selector)];
  let net, fit, view, nodes, readers;
  const self = { side: "", kind: "", chosen: null };

  const show = () => {
    net.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
    const scale = Math.min(canvas.clientWidth / view.w, canvas.clientHeight / view.h);
    canvas.classList.toggle("far", scale < 0.42);
    canvas.classList.toggle("near", view.w < fit.w * 0.98);
  };
  const adopt = () => {
    net = canvas.querySelector(".net");
    const whole = net.viewBox.baseVal;
    fit = { x: whole.x, y: whole.y, w: whole.width, h: whole.height };
    view = { ...fit };
    nodes = new Map(all(".n", net).map((node) => [node.dataset.row, node]));
    readers = new Map();
    for (const [row, node] of nodes) {
      node.setAttribute("role", "button");
      node.setAttribute("tabindex", "-1");
      node.setAttribute("aria-label", `${node.querySelector(".op").textContent} ${node.querySelector("title").textContent}`);
      for (const source of (node.dataset.reads || "").split(" ")) {
        if (source) readers.set(source, [...(readers.get(source) || []), row]);
      }
    }
    const first = nodes.values().next().value;
    if (first) first.setAttribute("tabindex", "0");
  };
  const place = (x, y) => new DOMPoint(x, y).matrixTransform(net.getScreenCTM().inverse());
  const zoom = (factor, x, y) => {
    const w = Math.min(Math.max(view.w * factor, 240), fit.w * 1.6);
    const real = w / view.w;
    view = { x: x - (x - view.x) * real, y: y - (y - view.y) * real, w, h: view.h * real };
    show();
  };
  const middle = () => [view.x + view.w / 2, view.y + view.h / 2];
  const at = (node) => {
    const { e, f } = node.transform.baseVal.consolidate().matrix;
    return [e, f];
  };
  const reveal = (node) => { // bring a node into the picture, near enough to be read
    const [x, y] = at(node);
    const scale = Math.min(canvas.clientWidth / view.w, canvas.clientHeight / view.h);
    if (scale < 0.42) zoom(scale / 0.8, x, y);
    if (x < view.x + view.w * 0.1 || x > view.x + view.w * 0.9 || y < view.y + view.h * 0.1 || y > view.y + view.h * 0.9) {
      view = { ...view, x: x - view.w / 2, y: y - view.h / 2 };
    }
    show();
  };

  self.zoom = (how) => {
    if (how === "fit") { view = { ...fit }; show(); }
    else zoom(how === "in" ? 0.66 : 1.5, ...middle());
  };
  self.select = (row, { focus = false, reveal: bring = false } = {}) => {
    for (const other of all(".n.here")) { other.classList.remove("here"); }
    const node = row === null ? undefined : nodes.get(String(row));
    self.chosen = node ? String(row) : null;
    if (node) {
      node.classList.add("here");
      for (const other of all('.n[tabindex="0"]')) other.setAttribute("tabindex", "-1");
      node.setAttribute("tabindex", "0");
      if (bring || focus) reveal(node);
      if (focus) node.focus({ preventScroll: true });
    }
    on.onSelect(self.chosen, node ? node.querySelector("title").textContent : "");
  };
  self.replace = (drawing, side, kind) => { // the node that was chosen stays chosen, where it is drawn
    const chosen = self.chosen, focused = net.contains(document.activeElement);
    net.replaceWith(drawing);
    Object.assign(self, { side, kind });
    adopt();
    show();
    if (chosen !== null) self.select(nodes.has(chosen) ? chosen : null, { reveal: true });
    const stop = net.querySelector('.n[tabindex="0"]');
    if (focused && stop) stop.focus({ preventScroll: true });
  };
  self.node = (row) => nodes.get(String(row));
  self.nodes = () => nodes;

  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls as anywhere else
    event.preventDefault();
    const { x, y } = place(event.clientX, event.clientY);
    zoom(Math.exp(event.deltaY * 0.0022), x, y);
  }, { passive: false });

  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".net")) return;
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
      const { x, y } = place((now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      zoom(span(before) / span(now), x, y);
    }
    moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
    fingers.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, (event) => fingers.delete(event.pointerId));

  canvas.addEventListener("click", (event) => {
    if (moved > 6 || !event.target.closest(".net")) return;
    const node = event.target.closest(".n");
    self.select(node ? node.dataset.row : null);
  });
  canvas.addEventListener("dblclick", (event) => {
    const node = event.target.closest(".n");
    if (node) on.onOpen(node.dataset.row);
  });

  const beside = (row, step) => { // the nearest node of about the same height, to the left or the right
    const [x, y] = at(nodes.get(row));
    let best = null, least = Infinity;
    for (const [other, node] of nodes) {
      const [ox, oy] = at(node);
      const away = (ox - x) * step + 4 * Math.abs(oy - y);
      if ((ox - x) * step > 1 && away < least) { best = other; least = away; }
    }
    return best;
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.target.closest(".detail") && event.key !== "Escape") return;
    const focused = event.target.closest(".n");
    const row = focused ? focused.dataset.row : self.chosen;
    const next = row === null ? null : {
      ArrowDown: () => (readers.get(row) || [])[0],
      ArrowUp: () => (nodes.get(row).dataset.reads || "").split(" ")[0],
      ArrowLeft: () => beside(row, -1),
      ArrowRight: () => beside(row, 1),
    }[event.key];
    if (next) { const to = next(); if (to && nodes.has(to)) self.select(to, { focus: true }); }
    else if (event.key === " " && focused) self.select(row);
    else if (event.key === "Enter" && focused) { if (self.chosen === row) on.onOpen(row); else self.select(row); }
    else if (event.key === "Escape") {
      if (self.chosen === null) on.onLeave();
      else { const node = nodes.get(self.chosen); self.select(null); if (node) node.focus({ preventScroll: true }); }
    } else if (event.key === "+" || event.key === "=") zoom(0.66, ...middle());
    else if (event.key === "-") zoom(1.5, ...middle());
    else if (event.key === "0") self.zoom("fit");
    else return;
    event.preventDefault();
  });
  addEventListener("resize", show);
  adopt();
  new IntersectionObserver(show).observe(canvas); // nothing is drawn before it is seen
  return self;
};
