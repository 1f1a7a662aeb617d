// A pyramid's first and last level as a JavaScript library reads them: one line of JSON, then the
// bytes. openers.py hands this to node in the folder where npm has put the libraries.
import { FileSystemStore } from "@zarrita/storage";
import { loadOmeZarrFromStore } from "@vivjs/loaders";
import { NgffImage } from "ome-zarr.js";
import * as zarr from "zarrita";

const [library, path, last] = process.argv.slice(1);
const store = new FileSystemStore(path);
const said = {};

const readers = {
  async zarrita(name) {
    const array = await zarr.open(zarr.root(store).resolve(name), { kind: "array" });
    return [array.shape, (await zarr.get(array)).data];
  },
  async "@hms-dbmi/viv"(name) {
    const level = (await loadOmeZarrFromStore(store)).data[Number(name)];
    const planes = [0, 1, 2].map((c) => level.getRaster({ selection: { c } }));
    said.axes = level.labels.join("");
    return [level.shape, Buffer.concat((await Promise.all(planes)).map((plane) => plane.data))];
  },
  async "ome-zarr.js"(name) {
    const image = await NgffImage.load(store);
    said.mpp = image.getScales()[0].at(-1);
    said.axes = image.axes.map((axis) => axis.name).join("");
    said.tissue = (await image.getLabelsPaths()).includes("tissue");
    const shown = await image.renderRgba({ arrayPathOrIndex: name, maxSize: 1e5 });
    return [[shown.height, shown.width, 4], Buffer.from(shown.data)];
  },
};

const fine = await readers[library]("0");
const coarse = await readers[library](last);
console.log(JSON.stringify({ ...said, shapes: [fine[0], coarse[0]] }));
process.stdout.write(Buffer.concat([fine[1], coarse[1]]));
