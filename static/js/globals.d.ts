// What the vendored scripts put on window, as far as our modules use it.
interface IdiomorphDefaults {
  ignoreActiveValue: boolean;
  callbacks: { beforeAttributeUpdated: (name: string, node: Element, type: "update" | "remove") => boolean };
}
interface Window {
  Idiomorph?: { defaults: IdiomorphDefaults };
}
