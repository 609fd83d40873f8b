// Pictures open large; a pointer on a chart shows the values at that step in the legend.
const dialog = document.querySelector("dialog");
dialog.addEventListener("click", () => dialog.close());
for (const picture of document.querySelectorAll(".gallery img")) {
  picture.addEventListener("click", () => {
    dialog.firstElementChild.src = picture.src;
    dialog.showModal();
  });
}
for (const svg of document.querySelectorAll(".chart svg")) {
  const cursor = svg.querySelector(".cursor");
  if (!cursor) continue;
  const step = cursor.querySelector("text");
  const lines = [...svg.querySelectorAll("g[data-values]")].map((g) => JSON.parse(g.dataset.values));
  const legend = [...svg.parentElement.querySelectorAll(".legend b")];
  const last = legend.map((item) => item.textContent);
  const nearer = (at) => (a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const near = lines.map((points) => points.reduce(nearer(at), [Infinity, "", "–"]));
    const [x, name] = near.reduce(nearer(at));
    cursor.setAttribute("transform", `translate(${x} 0)`);
    cursor.style.visibility = "visible";
    step.textContent = name;
    near.forEach((point, k) => (legend[k].textContent = point[2]));
  });
  svg.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    last.forEach((text, k) => (legend[k].textContent = text));
  });
}
