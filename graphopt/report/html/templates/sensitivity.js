(() => {
  const source = document.querySelector("#trials");
  if (!source) return;
  const study = JSON.parse(source.content.textContent);
  const one = (selector) => document.querySelector(selector);
  const bars = one("#bars"), levels = one("#levels"), measure = one("#measure"), find = one("#part");
  const make = (name, className, text) => { // only text is made of names, never markup
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const short = (value) => String(Number(value.toPrecision(3)));
  let level = "worst";

  for (const each of study.measures) {
    const choice = make("option", "", each.label);
    choice.value = each.key;
    measure.append(choice);
  }
  const tab = (value, text) => {
    const made = make("button", "", text);
    made.type = "button";
    made.setAttribute("role", "tab");
    made.dataset.level = value;
    made.addEventListener("click", () => { level = value; show(); });
    levels.append(made);
  };
  tab("worst", study.levels.length > 1 ? "the worst" : "all");
  if (study.levels.length > 1) for (const value of study.levels) tab(String(value), short(value));

  const told = (point, of) => {
    const left = ["macs", "parameters", "latency_ms"].filter((key) => point[key] !== undefined && study.whole[key])
      .map((key) => `${{ macs: "MACs", parameters: "parameters", latency_ms: "latency" }[key]} ${short(100 * (point[key] / study.whole[key] - 1))} %`);
    const values = study.measures.filter((each) => point[each.key] !== undefined).map((each) => `${each.label}: ${short(point[each.key])}`);
    return `${of} ${short(point.level)}: ${[...values, ...left].join(", ")}`;
  };

  const show = () => {
    const by = study.measures.find((each) => each.key === measure.value);
    if (!by) return;
    const worse = (a, b) => (by.high ? a - b : b - a); // the worse comes first
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [];
    for (const part of study.parts) {
      const points = part.points.filter((point) => point[by.key] !== undefined && (level === "worst" || String(point.level) === level));
      if (!points.length || !words.every((word) => part.name.toLowerCase().includes(word))) continue;
      const point = points.sort((a, b) => worse(a[by.key], b[by.key]))[0];
      rows.push({ part, point, value: point[by.key] });
    }
    rows.sort((a, b) => worse(a.value, b.value));
    const values = rows.map((row) => row.value);
    const low = Math.min(0, ...values), high = Math.max(0, ...values), whole = high - low || 1;
    bars.replaceChildren(...rows.map((row) => {
      const line = make("li", "cost"), box = make("details"), head = make("summary");
      const bar = make("span", "track"), fill = make("i", row.value < 0 ? "gained" : "lost");
      fill.style.width = `${(100 * Math.abs(row.value)) / whole}%`;
      bar.append(fill);
      head.append(make("span", "who", row.part.name), bar, make("span", "num", `${short(row.value)} ${by.unit}`), make("span", "at", `@${short(row.point.level)}`));
      const list = make("ul");
      for (const point of row.part.points) list.append(make("li", "", told(point, "level")));
      box.append(head, list);
      line.append(box);
      return line;
    }));
    one("#shown").textContent = `${rows.length} of ${study.parts.length} parts`;
    for (const each of levels.children) {
      const chosen = each.dataset.level === level;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
    }
  };
  for (const control of [measure, find]) control.addEventListener("input", show);
  show();
})();
