// Sorts a table by the column whose heading is chosen: numbers by value, the greatest first, and text by its letters.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement;
    const column = heading.cellIndex;
    const body = heading.closest("table").tBodies[0];
    const number = heading.classList.contains("number");
    const descending = heading.ariaSort ? heading.ariaSort === "ascending" : number;
    const text = (row) => row.cells[column].textContent.trim();
    const value = (row) => {
      const found = Number.parseFloat(text(row).replace(/,/g, ""));
      return Number.isNaN(found) ? Number.NEGATIVE_INFINITY : found;
    };
    const compare = (one, other) =>
      number ? value(one) - value(other) || 0 : text(one).localeCompare(text(other), undefined, { numeric: true });
    const rows = [...body.rows].sort(compare);
    if (descending) rows.reverse();
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.ariaSort = descending ? "descending" : "ascending";
    body.append(...rows);
  });
}
