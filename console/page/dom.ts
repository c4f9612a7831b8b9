// Finds and makes elements, typed.

/** The element of this id, which the page must have. */
export const byId = <T extends Element>(id: string, type: new () => T): T => {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
};

type Child = Node | string;

/** A new element; text children are text, never markup. */
export const element = <Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  className: string,
  ...children: Child[]
): HTMLElementTagNameMap[Tag] => {
  const made = document.createElement(tag);
  if (className !== '') made.className = className;
  made.append(...children);
  return made;
};

/** Sets the text only when it differs: selections and screen readers are left alone. */
export const setText = (target: Node, text: string): void => {
  if (target.textContent !== text) target.textContent = text;
};
