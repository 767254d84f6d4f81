"use strict";
// The page is whole without this script. It shows what a mark of a chart stands for, sorts and searches tables, and
// tells what a decision threshold would give.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  document.documentElement.classList.add("scripted");

  // What a mark stands for is its label: shown to the pointer, and to the arrow keys while the chart has the focus.
  const tip = document.getElementById("tip");
  const show = (mark) => {
    const place = mark.getBoundingClientRect();
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    const left = Math.min(Math.max(place.left + place.width / 2 - tip.offsetWidth / 2, 4), document.documentElement.clientWidth - tip.offsetWidth - 4);
    const above = place.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 0 ? above : place.bottom + 8}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const chart of all("figure > svg")) {
    const marks = all('.role-mark [role="graphics-symbol"][aria-label]', chart);
    let at = -1;
    if (!marks.length) continue;
    chart.setAttribute("tabindex", "0");
    chart.addEventListener("pointerover", (event) => {
      const mark = event.target.closest('.role-mark [role="graphics-symbol"][aria-label]');
      if (mark) show(mark); else hide();
    });
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!move) return;
      event.preventDefault();
      at = (at + move + marks.length) % marks.length;
      marks[at].scrollIntoView({ block: "nearest", inline: "nearest" });
      show(marks[at]);
    });
  }
  addEventListener("scroll", hide, { passive: true });

  // A click on the head of a column sorts by it, another one the other way round.
  const value = (row, column) => {
    const cell = row.cells[column];
    const number = Number.parseFloat(cell.dataset.value ?? cell.textContent.replace("−", "-").replace(/[^0-9.eE+-]/g, ""));
    return cell.classList.contains("num") && !Number.isNaN(number) ? number : cell.textContent.trim();
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    all("thead th", table).forEach((head, column) => {
      if (head.classList.contains("fixed")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => compare(value(a, column), value(b, column)));
        body.append(...(down ? rows.reverse() : rows));
        table.dispatchEvent(new Event("sorted"));
      });
    });
  }

  // Rows are searched by their words and chosen by their labels; of many only the first are shown until asked for.
  const page = 20;
  for (const tools of all("form.tools[data-table]")) {
    const table = document.getElementById(tools.dataset.table);
    const more = tools.parentElement.querySelector("button.more");
    const said = tools.querySelector("output");
    let whole = false;
    const update = () => {
      const words = tools.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = all("select", tools).filter((select) => select.value);
      let found = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        const fits = words.every((word) => text.includes(word)) && chosen.every((select) => row.dataset[select.name] === select.value);
        found += fits;
        row.hidden = !fits || (!whole && found > page);
      }
      const shown = whole ? found : Math.min(found, page);
      said.textContent = `${shown} of ${table.tBodies[0].rows.length} shown`;
      more.hidden = shown === found;
      more.textContent = `Show all ${found}`;
    };
    tools.hidden = false;
    tools.addEventListener("input", update);
    tools.addEventListener("submit", (event) => event.preventDefault());
    tools.addEventListener("reset", () => setTimeout(update));
    table.addEventListener("sorted", update);
    more.addEventListener("click", () => { whole = true; update(); });
    for (const pair of all("button[data-true]")) {
      pair.hidden = false;
      pair.addEventListener("click", () => {
        tools.reset();
        tools.elements.true.value = pair.dataset.true;
        tools.elements.answer.value = pair.dataset.answer;
        update();
        tools.scrollIntoView();
        tools.elements.words.focus({ preventScroll: true });
      });
    }
    update();
  }

  // A threshold that is tried out: the nearest point of the curve.
  for (const slider of all("input[type=range]")) {
    const points = JSON.parse(document.getElementById(slider.dataset.points).textContent);
    const said = slider.form.querySelector("output");
    const update = () => {
      const wanted = Number(slider.value);
      const near = points.reduce((best, point) => (Math.abs(point.threshold - wanted) < Math.abs(best.threshold - wanted) ? point : best));
      said.textContent = near.said;
    };
    slider.form.hidden = false;
    slider.addEventListener("input", update);
    update();
  }
})();
