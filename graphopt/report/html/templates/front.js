(() => {
  const plot = document.querySelector("#front-plot"), chosen = document.querySelector("#chosen");
  if (!plot) return;
  const sections = (name) => document.getElementById(`p${name}`);
  const show = (name) => {
    const facts = sections(name).querySelector(".facts");
    const title = document.createElement("h3");
    title.textContent = `Point ${name}`;
    const copy = facts.cloneNode(true);
    for (const inner of copy.querySelectorAll("[id]")) inner.removeAttribute("id");
    for (const inner of copy.querySelectorAll(".command")) inner.remove(); // it stands below, with its button
    chosen.replaceChildren(title, copy);
    chosen.hidden = false;
    for (const each of plot.querySelectorAll("a")) each.classList.toggle("here", each.dataset.point === name);
  };
  for (const point of plot.querySelectorAll("a")) {
    for (const event of ["mouseenter", "focus"]) point.addEventListener(event, () => show(point.dataset.point));
    point.addEventListener("click", () => { sections(point.dataset.point).open = true; });
  }
})();
