/** Photos that are dropped: files and folders from outside, and photos from another column. */

import { post } from "./api.js";
import { open } from "./dialog.js";
import { h } from "./dom.js";
import { dropped, leftOut, photosOf } from "./files.js";
import { DRAGGED } from "./grid.js";
import { move } from "./moving.js";
import { fail } from "./notices.js";
import { ofClass } from "./places.js";
import { now, refresh } from "./state.js";
import { upload } from "./uploads.js";
import { count } from "./words.js";

const isOurs = (event) => event.dataTransfer.types.includes(DRAGGED);
const isFiles = (event) => event.dataTransfer.types.includes("Files");

/** The class whose name this is, in whatever case and with spaces or underscores. */
function sameClass(name) {
  const plain = (text) => text.normalize("NFC").toLowerCase().replaceAll("_", " ").trim();
  return now().classes.find((each) => plain(each.name) === plain(name));
}

/** Asks which class each dropped folder goes to. @param {Map<string, File[]>} folders */
function askWhere(folders) {
  const rows = [...folders].map(([folder, files]) => {
    const known = folder && sameClass(folder);
    const list = h(
      "select",
      { "aria-label": `Class for ${folder || "the single photos"}` },
      !folder && h("option", { value: "" }, "Choose a class"),
      folder && !known && h("option", { value: `new ${folder}` }, `New class “${folder}”`),
      now().classes.map((each) =>
        h("option", { value: `old ${each.name}` }, each.display || each.name),
      ),
      h("option", { value: "skip" }, "Leave out"),
    );
    if (known) list.value = `old ${known.name}`;
    return {
      list,
      files,
      row: h(
        "li",
        {},
        h(
          "span",
          {},
          folder ? `Folder “${folder}”` : "Single photos",
          h("span", { class: "soft" }, `, ${count(files.length, "photo")}`),
        ),
        list,
      ),
    };
  });
  open("Where do these photos go?", (dialog) => {
    const go = async () => {
      if (rows.some(({ list }) => !list.value)) {
        fail({ message: "Choose a class for the single photos, or leave them out.", status: 0 });
        return;
      }
      dialog.close();
      for (const { list, files } of rows) {
        if (list.value === "skip") continue;
        const name = list.value.slice(4);
        try {
          if (list.value.startsWith("new ")) await post("/api/classes", { name });
          await refresh();
        } catch (error) {
          fail(error);
          continue;
        }
        await upload(ofClass(name), files);
      }
    };
    return [
      h(
        "ul",
        { class: "where" },
        rows.map(({ row }) => row),
      ),
      h("button", { type: "button", class: "main", click: go, autofocus: true }, "Add them"),
    ];
  });
}

async function take(transfer, column) {
  const { photos, others } = photosOf(await dropped(transfer));
  leftOut(others);
  if (!photos.length) return;
  if (column && column.place.kind !== "set-aside") {
    await upload(
      column.place,
      photos.map(({ file }) => file),
    );
    return;
  }
  const folders = new Map();
  for (const { file, folder } of photos)
    folders.set(folder, [...(folders.get(folder) ?? []), file]);
  askWhere(folders);
}

/** The photos that are dropped: the drag may have begun in another window, which chose others. */
function draggedIds(transfer) {
  try {
    return JSON.parse(transfer.getData(DRAGGED));
  } catch {
    return [];
  }
}

async function moveDragged(ids, place, selection) {
  if (ids.length && (await move(ids, place)))
    selection.set(
      ids.map((id) => ({ id })),
      false,
    );
}

/** @param {import("./selection.js").Selection} selection */
export function takeDrops(selection) {
  let over = null;
  const mark = (element) => {
    over?.classList.remove("is-over");
    over = element;
    over?.classList.add("is-over");
  };
  addEventListener("dragover", (event) => {
    if (!isOurs(event) && !isFiles(event)) return;
    event.preventDefault();
    mark(event.target.closest?.(".column") ?? (isFiles(event) ? document.body : null));
  });
  addEventListener("dragleave", (event) => !event.relatedTarget && mark(null));
  addEventListener("dragend", () => mark(null));
  addEventListener("drop", (event) => {
    if (!isOurs(event) && !isFiles(event)) return;
    event.preventDefault();
    const column = event.target.closest?.(".column")?.column;
    mark(null);
    if (isFiles(event)) take(event.dataTransfer, column).catch(fail);
    else if (column) moveDragged(draggedIds(event.dataTransfer), column.place, selection);
  });
}
