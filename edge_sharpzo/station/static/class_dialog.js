/** What can be changed of a class: its words, its folder's name, with which class it is one. */

import { post } from "./api.js";
import { open } from "./dialog.js";
import { h } from "./dom.js";
import { fail, tell, toldBy } from "./notices.js";
import { now, refresh } from "./state.js";
import { count } from "./words.js";
import { showEffect } from "./wording.js";

const path = (name, what) => `/api/classes/${encodeURIComponent(name)}/${what}`;

function form(title, why, fields, button, submitted) {
  const made = h("form", {}, h("h3", {}, title), h("p", { class: "soft" }, why), fields, button);
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    submitted();
  });
  return made;
}

/**
 * @param {{name: string, display: string, photos: number, left_out: number}} cls
 * @param {{addFolder: () => void, goTo: (name: string) => void}} how `goTo`: gives the focus to the
 * class that this one has become
 */
export function editClass(cls, { addFolder, goTo }) {
  const files = cls.photos + cls.left_out;
  const others = now().classes.filter((each) => each.name !== cls.name);
  open(cls.display || cls.name, (dialog) => {
    const change = async (what, body, text, becomes = cls.name) => {
      try {
        toldBy(await post(path(cls.name, what), body));
        dialog.close();
        tell(`${text} Undo takes it back.`);
        await refresh();
        if (becomes !== cls.name) goTo(becomes);
      } catch (error) {
        fail(error);
      }
    };
    const display = h("input", {
      id: "display",
      value: cls.display || cls.name,
      autocomplete: "off",
      required: true,
    });
    const effect = h("p", { class: "soft", role: "status" });
    showEffect(display, effect, (text) =>
      text && text !== cls.display ? { class: cls.name, display: text } : null,
    );
    const rename = h("input", {
      id: "rename",
      value: cls.name,
      autocomplete: "off",
      required: true,
    });
    const into = h(
      "select",
      { id: "into", required: true },
      h("option", { value: "" }, "Choose a class"),
      others.map((each) => h("option", { value: each.name }, each.display || each.name)),
    );
    return [
      form(
        "Words",
        "What the model reads for this class. Say what is to be seen: “ripe tomato” rather than “tray 3”.",
        h(
          "div",
          {},
          h("label", { for: "display" }, "Display name"),
          h("div", { class: "inline" }, display, h("button", {}, "Use this name")),
          effect,
        ),
        null,
        () =>
          change(
            "display",
            { display: display.value.trim() },
            `The class reads “${display.value.trim()}” now.`,
          ),
      ),
      form(
        "Folder",
        `Its photos lie in the folder “${cls.name}”.`,
        h(
          "div",
          {},
          h("label", { for: "rename" }, "Name of the folder"),
          h("div", { class: "inline" }, rename, h("button", {}, "Rename")),
        ),
        null,
        () => {
          const to = rename.value.trim();
          return change("rename", { to }, `Renamed to “${to}”.`, to);
        },
      ),
      others.length > 0 &&
        form(
          "Merge",
          `Puts its ${count(files, "photo")} into another class, and this class is gone.`,
          h(
            "div",
            {},
            h("label", { for: "into" }, "Into which class"),
            h("div", { class: "inline" }, into, h("button", {}, "Merge")),
          ),
          null,
          () => {
            const to = into.value;
            return change("merge", { into: to }, `“${cls.name}” is part of “${to}” now.`, to);
          },
        ),
      files === 0 &&
        form(
          "Remove",
          "It has no photos, and answers by its name alone. Its empty folder is removed.",
          null,
          h("button", {}, "Remove this class"),
          () => change("remove", {}, `The class “${cls.name}” is gone.`),
        ),
      h(
        "div",
        { class: "form" },
        h("h3", {}, "A whole folder"),
        h("p", { class: "soft" }, "Adds all photos of a folder on this machine to the class."),
        h(
          "button",
          {
            type: "button",
            click: () => {
              dialog.close();
              addFolder();
            },
          },
          "Add a folder",
        ),
      ),
    ].filter(Boolean);
  });
}
