/** The element of the page with this id. */
export function element<Kind extends HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

/** An element with a text, which never becomes markup. */
export function textElement<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  text: string,
  kind = '',
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  element.textContent = text;
  if (kind !== '') element.className = kind;
  return element;
}
