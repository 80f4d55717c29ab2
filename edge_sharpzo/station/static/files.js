/** Files that are dropped or chosen, folders with all that is in them. */

import { fail } from "./notices.js";
import { count, some } from "./words.js";

/** @typedef {{file: File, folder: string}} Found a file, and the name of the folder it lay in ("" for none) */

const PHOTO = /\.(jpe?g|png|webp|gif|bmp|tiff?)$/i;
const isPhoto = (file) => file.type.startsWith("image/") || PHOTO.test(file.name);
const isHidden = (name) => name.startsWith(".");

const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

/** All entries of a folder: the browser hands them out in portions. */
async function entriesOf(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    found.push(...some);
  }
}

async function walked(entry, folder) {
  if (isHidden(entry.name)) return [];
  if (entry.isFile) return [{ file: await fileOf(entry), folder }];
  const found = [];
  for (const each of await entriesOf(entry)) found.push(...(await walked(each, entry.name)));
  return found;
}

/**
 * What was dropped. To be called in the event itself: it is empty afterwards.
 * @param {DataTransfer} transfer
 * @returns {Promise<Found[]>}
 */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = entries.length ? [] : [...transfer.files].map((file) => ({ file, folder: "" }));
  const found = [];
  for (const entry of entries) found.push(...(await walked(entry, "")));
  return [...found, ...plain];
}

/** @param {FileList} files of an input, which may be one for folders */
export const chosen = (files) =>
  [...files]
    .filter((file) => !isHidden(file.name))
    .map((file) => ({ file, folder: file.webkitRelativePath.split("/").at(-2) ?? "" }));

/** Photos, and the names of the files that are none. @param {Found[]} found */
export function photosOf(found) {
  return {
    photos: found.filter(({ file }) => isPhoto(file)),
    others: found.filter(({ file }) => !isPhoto(file)).map(({ file }) => file.name),
  };
}

/** Says which files are no photos, where there are any. @param {string[]} names */
export function leftOut(names) {
  if (!names.length) return;
  const why = names.length === 1 ? "it is no photo" : "they are no photos";
  const message = `${count(names.length, "file")} left out, since ${why}: ${some(names, 5)}`;
  fail({ message, status: 0 });
}

/**
 * Asks for files.
 * @param {{folder?: boolean, camera?: boolean, several?: boolean}} how
 * @returns {Promise<Found[]>} nothing where it was given up
 */
export function ask({ folder = false, camera = false, several = true } = {}) {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = "image/*";
    input.multiple = several && !camera;
    input.webkitdirectory = folder;
    input.hidden = true;
    if (camera) input.setAttribute("capture", "environment");
    const done = () => {
      resolve(chosen(input.files));
      input.remove();
    };
    input.addEventListener("change", done);
    input.addEventListener("cancel", done);
    document.body.append(input); // some phones forget one that is nowhere
    input.click();
  });
}
