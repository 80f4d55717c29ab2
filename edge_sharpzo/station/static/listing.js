/** The photos of a place, in portions that the station gives. */

import { get } from "./api.js";
import { query } from "./places.js";

const AT_ONCE = 1000; // that the station gives

/**
 * Asks for some of the photos of a place.
 * @param {import("./places.js").Place} place @param {number} offset @param {number} limit
 * @returns {Promise<{photos: any[], total: number}>} `total`: of how many
 */
export const part = (place, offset, limit = AT_ONCE) =>
  get(`/api/photos?${query(place)}&offset=${offset}&limit=${Math.min(limit, AT_ONCE)}`);

/**
 * Asks for the first photos of a place.
 * @param {import("./places.js").Place} place @param {number} most Infinity for all
 * @param {() => boolean} isOld whether a newer question is under way
 * @returns {Promise<?{photos: any[], total: number}>} null where one is
 */
export async function listed(place, most, isOld) {
  const photos = [];
  for (;;) {
    const { photos: some, total } = await part(place, photos.length, most - photos.length);
    if (isOld()) return null;
    photos.push(...some);
    if (!some.length || photos.length >= Math.min(most, total)) return { photos, total };
  }
}
