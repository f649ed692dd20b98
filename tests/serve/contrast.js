// contrasts(): of all that is seen on a page, [element, "text" | "edge" | "focus", ratio], by
// WCAG 2.2's definition of contrast: of text, of the edges or areas of controls, of the outline of
// what has the focus.
(() => {
  const parse = (text) => {
    const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number);
    return { rgb: [red, green, blue], alpha };
  };
  const over = ({ rgb, alpha }, under) => rgb.map((v, i) => v * alpha + under[i] * (1 - alpha));

  // A photo is taken as white: what is written on it is white too.
  function behind(element) {
    if (!element || element.id === "view") return [255, 255, 255];
    const own = parse(getComputedStyle(element).backgroundColor);
    return own.alpha === 1 ? own.rgb : over(own, behind(element.parentElement));
  }

  function luminance(rgb) {
    const linear = rgb.map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  }

  function ratio(one, other) {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  // What cannot be used needs no contrast.
  const out = ".unseen, [aria-disabled=true], label:has(:disabled), script, style, option";
  const controls = ".button:not(.plain), .segments, select, .swatch, .tile.add, dialog input";
  const holders = ".strip, .stage, .panel, header, dialog";

  function* measured(element) {
    const style = getComputedStyle(element);
    const own = behind(element);
    const under = behind(element.parentElement);
    if ([...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()))
      yield ["text", ratio(over(parse(style.color), own), own)];
    if (element.matches(controls))
      yield ["edge", Math.max(ratio(parse(style.borderTopColor).rgb, under), ratio(own, under))];
    if (element.matches(holders)) {
      const probe = document.createElement("i");
      probe.style.color = "var(--focus)";
      element.append(probe);
      yield ["focus", ratio(parse(getComputedStyle(probe).color).rgb, own)];
      probe.remove();
    }
  }

  window.contrasts = () => [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(out))
    .flatMap((element) => [...measured(element)].map((one) => [element.outerHTML.slice(0, 70), ...one]));
})();
