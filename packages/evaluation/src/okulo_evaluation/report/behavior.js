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
  const lines = [...svg.querySelectorAll("g")].map((g) => JSON.parse(g.dataset.values));
  const legend = [...svg.parentElement.querySelectorAll(".legend b")];
  const last = legend.map((item) => item.textContent);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const near = lines.map((points) =>
      points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a), [Infinity, "", "–"]),
    );
    const x = near.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a))[0];
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = "visible";
    near.forEach((point, k) => (legend[k].textContent = `${point[2]} @ ${point[1]}`));
  });
  svg.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    last.forEach((text, k) => (legend[k].textContent = text));
  });
}
