// What is wrong with a page for whoever does not see it, in words. A picture that is hidden from readers
// needs no name.
() => {
  const faults = [];
  const all = (query) => [...document.querySelectorAll(query)];
  const check = (what, query, isWrong = () => true) => {
    for (const each of all(query)) if (isWrong(each)) faults.push(`${what}: ${each.outerHTML.slice(0, 120)}`);
  };
  const text = (each) => each.getAttribute("aria-label") || each.textContent || each.title || "";
  const hasLabel = (each) => each.labels.length || each.matches("[aria-label], [aria-labelledby]");
  const ids = all("[id]").map((each) => each.id);

  check("one id twice", "[id]", (each) => ids.indexOf(each.id) !== ids.lastIndexOf(each.id));
  check("no name", "a[href], button", (each) => !text(each).trim());
  check("no label", "input:not([type=hidden]), select, textarea", (each) => !hasLabel(each));
  for (const name of ["aria-labelledby", "aria-describedby", "aria-controls"]) {
    const isLost = (id) => id && !document.getElementById(id);
    check("names nothing", `[${name}]`, (each) => each.getAttribute(name).split(/\s+/).some(isLost));
  }
  check("no legend", "fieldset:not(:has(legend))");
  check("no heads", "table:not(:has(th[scope=col])), table:not(:has(th[scope=row]))");
  check("jumps the queue", "[tabindex]", (each) => each.tabIndex > 0);
  check("a picture without a role", "svg:not([aria-hidden], [role], svg svg)");

  const levels = all("h1, h2, h3, h4").filter((each) => each.checkVisibility()).map((each) => +each.tagName[1]);
  const jump = levels.find((level, place) => place > 0 && level > levels[place - 1] + 1);
  if (jump) faults.push(`a heading of level ${jump} without one above it`);
  if (levels.filter((level) => level === 1).length !== 1) faults.push("not one h1");
  if (!document.querySelector("main")) faults.push("no main");
  if (!document.documentElement.lang || !document.title.trim()) faults.push("no language or title");
  return faults;
}
