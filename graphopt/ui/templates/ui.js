(() => {
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const token = new URLSearchParams(location.search).get("token") || "";
  history.replaceState(null, "", location.pathname); // the token does not stay in the address bar
  const layers = JSON.parse(one("#layers").content.textContent);
  const MOST_LISTED = 80; // of more a browser takes too long to follow a drag
  const choices = { quant: {}, prune: {} };
  const canvas = one("#canvas"), detail = one("#detail"), slider = one("#position");
  let view = null, known = null, marked = null, asked = 0, jobs = [];

  const make = (name, className, text) => { // only text is made of names, never markup
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const fail = (text) => { one("#error").textContent = text; one("#error").hidden = !text; };
  const post = async (path, body) => {
    try {
      const answer = await fetch(`/api/${path}`, {
        method: "POST", headers: { "Content-Type": "application/json", "X-Graphopt-Token": token }, body: JSON.stringify(body),
      });
      const values = await answer.json();
      fail(answer.ok ? "" : values.error);
      return answer.ok ? values : null;
    } catch (error) { fail(`The server does not answer: ${error.message}`); return null; }
  };
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const decibel = (value) => (value === null || value === undefined ? "unchanged" : `${value.toFixed(1)} dB`);

  one("#theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // -- the point ---------------------------------------------------------------------------------------------

  const predict = async () => { // the figures move at once: the latest question alone is answered on the page
    const mine = ++asked;
    const found = await post("predict", { position: Number(slider.value), choices });
    if (!found || mine !== asked) return;
    known = found;
    slider.max = String(found.front.length - 1);
    slider.value = String(found.position);
    one("#steer").hidden = false;
    showPoint();
  };
  const showPoint = () => {
    const point = known.front[known.position];
    slider.setAttribute("aria-valuetext", `${decibel(point.sqnr_db)}, ${percent(point.bytes)} of the bytes`);
    one("#figures").textContent = `Predicted: ${decibel(point.sqnr_db)} SQNR, ${percent(point.bytes)} of the weights' bytes, ${percent(point.macs)} of the MACs, ${point.changed} parts changed`;
    drawFront();
    const listed = known.parts.filter((part) => part.level !== null || part.choice !== "auto");
    listed.sort((a, b) => (a.choice === "auto") - (b.choice === "auto")); // what a person chose comes first
    one("#changes").replaceChildren(...listed.slice(0, MOST_LISTED).map(line));
    if (listed.length > MOST_LISTED) one("#changes").append(make("li", "muted", `and ${listed.length - MOST_LISTED} more, in the graph`));
    mark(known.parts);
    if (view && view.chosen !== null) tell(view.chosen);
  };
  const line = (part) => {
    const made = make("li");
    made.dataset.part = part.name;
    const name = make("button", "name", part.name);
    name.type = "button";
    name.addEventListener("click", () => { if (view && part.row !== null) view.select(part.row, { reveal: true }); });
    made.append(make("span", `chip ${part.choice === "keep" ? "skip" : part.step === "quant" ? "p1" : "p0"}`, part.step), name, chooser(part));
    return made;
  };
  const chooser = (part) => {
    const made = make("select");
    made.setAttribute("aria-label", `${part.step} ${part.name}`);
    const words = part.step === "quant"
      ? { auto: "as the search says", keep: "keep float", force: "force 8 bits" }
      : { auto: "as the search says", keep: "keep its channels", force: "force fewer" };
    for (const [value, text] of Object.entries(words)) {
      const choice = make("option", "", text);
      choice.value = value;
      choice.selected = value === part.choice;
      made.append(choice);
    }
    made.addEventListener("change", () => {
      if (made.value === "auto") delete choices[part.step][part.name];
      else choices[part.step][part.name] = made.value;
      predict();
    });
    return made;
  };
  slider.addEventListener("input", predict);
  one("#aim").addEventListener("click", () => {
    const goal = Number(one("#goal").value);
    let best = 0;
    known.front.forEach((point, i) => { if (point.sqnr_db === null || point.sqnr_db >= goal) best = i; });
    slider.value = String(best);
    predict();
  });

  const draw = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const drawFront = () => {
    const box = one("#front");
    const runs = jobs.filter((job) => job.kind === "run" && job.state === "done" && job.result.sqnr_db !== null);
    const points = known.front.map((point, i) => ({ ...point, i })).filter((point) => point.sqnr_db !== null);
    const ratios = [...points.map((point) => point.sqnr_db), ...runs.map((job) => job.result.sqnr_db)];
    const low = Math.min(...ratios, 0), high = Math.max(...ratios, 10);
    const x = (share) => 40 + 366 * share, y = (ratio) => 178 - 160 * (ratio - low) / (high - low);
    const parts = [draw("text", { x: 40, y: 206 }, "0"), draw("text", { x: 406, y: 206, "text-anchor": "end" }, "100 % of the bytes"),
      draw("text", { x: 36, y: y(high) + 8, "text-anchor": "end" }, high.toFixed(0)), draw("text", { x: 36, y: y(low), "text-anchor": "end" }, low.toFixed(0)), draw("text", { x: 40, y: 12 }, "SQNR in dB, predicted (dots) and measured (rings)"),
      draw("path", { class: "line", d: `M40 18V184H406` }),
      draw("path", { class: "line", d: points.map((point, i) => `${i ? "L" : "M"}${x(point.bytes).toFixed(1)} ${y(point.sqnr_db).toFixed(1)}`).join("") })];
    for (const point of points) {
      const dot = draw("circle", { class: point.i === known.position ? "chosen" : "dot", cx: x(point.bytes), cy: y(point.sqnr_db), r: point.i === known.position ? 6 : 3 });
      dot.addEventListener("click", () => { slider.value = String(point.i); predict(); });
      parts.push(dot);
    }
    for (const job of runs) parts.push(draw("circle", { class: "run", cx: x(job.result.predicted.bytes), cy: y(job.result.sqnr_db), r: 7 }));
    box.replaceChildren(...parts);
  };
  const dragged = (plot, range, shares, moved) => { // drag along a front: the point nearest to the pointer
    let held = false;
    const pull = (event) => {
      const box = plot.getBoundingClientRect();
      const share = ((event.clientX - box.left) * 420 / box.width - 40) / 366;
      const away = shares().map((each) => Math.abs(each - share));
      const best = String(away.indexOf(Math.min(...away)));
      if (best !== range.value) { range.value = best; moved(); }
    };
    plot.addEventListener("pointerdown", (event) => { held = true; pull(event); });
    addEventListener("pointermove", (event) => { if (held) pull(event); });
    addEventListener("pointerup", () => { held = false; });
  };
  dragged(one("#front"), slider, () => known.front.map((point) => point.bytes), predict);

  // -- the measured front --------------------------------------------------------------------------------------

  const at = one("#at");
  let explored = null; // the job whose front is shown
  const file = (job, kind, text) => {
    const link = make("a", "", text);
    link.href = `/api/file/${job}/${kind}?token=${encodeURIComponent(token)}`;
    link.download = "";
    link.dataset.file = kind;
    return link;
  };
  const showExplored = (job) => {
    explored = job;
    at.max = String(job.result.points.length - 1);
    at.value = "0";
    one("#explored").hidden = false;
    showAt();
  };
  const showAt = async () => {
    const { number, result } = explored, point = result.points[Number(at.value)];
    const within = point.low === null ? (point.upper === null ? "" : `, with 90 % confidence at most ${point.upper.toFixed(2)}`) : ` (${point.low.toFixed(2)} to ${point.high.toFixed(2)})`;
    const time = point.latency === null ? "" : `${percent(point.latency)} of the latency, `;
    one("#at-figures").textContent = `Point ${point.name}: ${time}${percent(point.bytes)} of the bytes, ${point.lost.toFixed(2)} points lost${within}, SQNR ${decibel(point.sqnr_db)}`;
    at.setAttribute("aria-valuetext", `point ${point.name}, ${percent(point.left)} left, ${point.lost.toFixed(2)} points lost`);
    one("#at-links").replaceChildren(file(number, `model-${point.name}`, "Model"), file(number, `plan-${point.name}`, "Plan"), file(number, "page", "Page of the front"));
    one("#at-command").textContent = point.command;
    drawExplored();
    const answer = await post("changes", { job: number, point: point.name });
    if (!answer || explored.number !== number || result.points[Number(at.value)] !== point) return;
    const listed = answer.changes;
    one("#at-changes").replaceChildren(...listed.slice(0, MOST_LISTED).map(changed));
    if (listed.length > MOST_LISTED) one("#at-changes").append(make("li", "muted", `and ${listed.length - MOST_LISTED} more, in the graph`));
    mark(listed.map((each) => ({ ...each, level: 0, choice: "auto" })));
  };
  const changed = (each) => {
    const made = make("li"), name = make("button", "name", each.name);
    name.type = "button";
    name.addEventListener("click", () => { if (view && each.row !== null) view.select(each.row, { reveal: true }); });
    made.append(make("span", `chip ${each.step === "quant" ? "p1" : "p0"}`, each.step), name, make("span", "muted", each.what));
    return made;
  };
  const drawExplored = () => {
    const points = explored.result.points, high = Math.max(...points.map((point) => point.lost), 1), low = Math.min(...points.map((point) => point.lost), 0);
    const x = (share) => 40 + 366 * Math.min(share, 1), y = (lost) => 178 - 154 * (lost - low) / (high - low);
    const what = explored.result.saves === "latency" ? "latency" : "MACs";
    const parts = [draw("text", { x: 40, y: 206 }, "0"), draw("text", { x: 406, y: 206, "text-anchor": "end" }, `100 % of the ${what}`),
      draw("text", { x: 36, y: y(high) + 8, "text-anchor": "end" }, high.toFixed(1)), draw("text", { x: 36, y: y(low), "text-anchor": "end" }, low.toFixed(1)), draw("text", { x: 40, y: 12 }, "points lost, measured"),
      draw("path", { class: "line", d: "M40 18V184H406" }),
      draw("path", { class: "line", d: points.map((point, i) => `${i ? "L" : "M"}${x(point.left).toFixed(1)} ${y(point.lost).toFixed(1)}`).join("") })];
    points.forEach((point, i) => {
      const here = i === Number(at.value);
      parts.push(draw("circle", { class: here ? "chosen" : "dot", cx: x(point.left), cy: y(point.lost), r: here ? 6 : 4 }));
    });
    one("#measured").replaceChildren(...parts);
  };
  at.addEventListener("input", showAt);
  dragged(one("#measured"), at, () => explored.result.points.map((point) => point.left), showAt);

  // -- the graph ---------------------------------------------------------------------------------------------

  const mark = (parts) => {
    marked = parts;
    if (!view) return;
    canvas.dataset.by = "point";
    one("#shades").hidden = true;
    one("#marks").hidden = false;
    for (const node of view.nodes().values()) node.classList.remove("quant", "prune", "both", "vetoed");
    for (const part of parts) {
      const node = part.row === null ? undefined : view.node(part.row);
      if (!node) continue;
      if (part.choice === "keep") node.classList.add("vetoed");
      else if (part.level !== null) node.classList.add(node.classList.contains(part.step === "quant" ? "prune" : "quant") ? "both" : part.step);
    }
  };
  const tell = (row) => {
    const layer = layers[Number(row)];
    const close = make("button", "close", "×");
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => view.select(null));
    detail.replaceChildren(close);
    if (!layer) { detail.append(make("b", "", view.node(row).querySelector("title").textContent)); return; }
    detail.append(make("b", "", layer.name), make("span", "muted", `${layer.op} · ${layer.text}`));
    for (const part of known ? known.parts.filter((each) => String(each.row) === row) : []) {
      const box = make("label", "d", `${part.step === "quant" ? "8 bits" : "channels"} (alone ${decibel(-10 * Math.log10(part.noise))}): `);
      box.append(chooser(part));
      detail.append(box);
    }
  };
  if (canvas) {
    view = graphView(canvas, {
      onSelect: (row) => { detail.hidden = row === null; if (row !== null) tell(row); },
      onOpen: (row) => { if (row.startsWith("b")) show(row); },
      onLeave: () => { if (view.kind !== "blocks" && view.kind !== "nodes") show("blocks"); },
    });
    Object.assign(view, { side: canvas.dataset.side, kind: canvas.dataset.kind });
    const drawings = new Map(all("template[data-view]").map((each) => [each.dataset.view, each.content]));
    const first = document.createDocumentFragment();
    first.append(canvas.querySelector(".net").cloneNode(true));
    drawings.set(`original:${view.kind}`, first);
    const show = (kind) => {
      const drawing = drawings.get(`original:${kind}`);
      if (!drawing) return;
      view.replace(drawing.querySelector(".net").cloneNode(true), "original", kind);
      for (const tab of all("#kinds [data-kind]")) tab.setAttribute("aria-selected", String((kind === "nodes") === (tab.dataset.kind === "nodes")));
      if (one("#trail")) { one("#trail").hidden = kind === "nodes" || kind === "blocks"; one("#trail span").textContent = kind; }
      if (marked) mark(marked);
    };
    for (const tab of all("#kinds [data-kind]")) tab.addEventListener("click", () => show(tab.dataset.kind));
    if (one("#trail")) one("#trail button").addEventListener("click", () => show("blocks"));
    for (const button of all("[data-zoom]")) button.addEventListener("click", () => view.zoom(button.dataset.zoom));
  }

  // -- jobs --------------------------------------------------------------------------------------------------

  one("#setting").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    post(event.submitter && event.submitter.value === "explore" ? "explore" : "study", { ...Object.fromEntries(["calibration", "evaluation", "preprocess", "task"].map((key) => [key, form.get(key)])), steps: form.getAll("steps") });
  });
  one("#measure").addEventListener("click", () => post("measure", { position: known.position, choices }));

  const card = (job) => {
    const made = make("li", "job");
    made.dataset.state = job.state;
    made.dataset.kind = job.kind;
    made.append(make("h3", "", `${job.number}. ${job.title}`));
    if (job.state === "running" || job.state === "waiting") {
      const far = job.total ? `${job.doing}: ${job.done} of ${job.total}` : job.doing || job.state;
      const bar = make("progress");
      bar.setAttribute("aria-label", far);
      if (job.total) { bar.max = job.total; bar.value = job.done; }
      const stop = make("button", "copy still", "Cancel");
      stop.type = "button";
      stop.addEventListener("click", () => post("cancel", { job: job.number }));
      made.append(make("span", "muted", far), bar, stop);
    }
    if (job.message) made.append(make("p", "callout bad", job.message));
    if (job.state === "cancelled") made.append(make("span", "muted", "cancelled"));
    if (job.kind === "run" && job.state === "done") made.append(...measured(job));
    if (job.kind === "explore" && job.state === "done") {
      const show = make("button", "copy still", "Show this front");
      show.type = "button";
      show.addEventListener("click", () => { showExplored(job); one("#explored").scrollIntoView(); });
      made.append(make("p", "measured", `${job.result.points.length} points of ${job.result.trials} trials that no other beats`), ...job.result.said.map((text) => make("p", "muted", text)), show);
    }
    return made;
  };
  const measured = (job) => {
    const { before, after, metrics, agreement, predicted, sqnr_db: ratio, macs, command } = job.result;
    const words = [`SQNR ${decibel(ratio)} (predicted ${decibel(predicted.sqnr_db)})`, `file ${percent(after.bytes / before.bytes)} of the original's`];
    if (macs !== null) words.push(`${percent(macs)} of the MACs`);
    if (before.latency_ms && after.latency_ms) words.push(`${after.latency_ms.toPrecision(3)} ms instead of ${before.latency_ms.toPrecision(3)} ms`);
    for (const [name, [was, now]] of Object.entries(metrics)) words.push(`${name} ${percent(now)} (was ${percent(was)})`);
    if (agreement.top1 !== undefined) words.push(`${percent(agreement.top1)} of the answers unchanged`);
    const links = make("div", "links");
    for (const [kind, text] of [["model", "Model"], ["plan", "Plan"], ["report", "Report"]]) links.append(file(job.number, kind, text));
    const line = make("pre", "command", command);
    line.tabIndex = 0;
    return [make("p", "measured", `Measured: ${words.join(", ")}`), links, line];
  };
  let studies = -1, fronts = 0;
  const heard = (state) => {
    jobs = state.jobs;
    one("#jobs").replaceChildren(...[...jobs].reverse().map(card));
    const done = jobs.filter((job) => job.kind === "study" && job.state === "done").length;
    const ended = jobs.filter((job) => job.kind === "explore" && job.state === "done");
    if (ended.length > fronts) { fronts = ended.length; showExplored(ended[ended.length - 1]); }
    if (state.studied && done !== studies) { studies = done; predict(); } else if (known) drawFront();
  };
  const events = new EventSource(`/api/events?token=${encodeURIComponent(token)}`);
  events.addEventListener("message", (event) => heard(JSON.parse(event.data)));
})();
