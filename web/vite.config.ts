import { defineConfig } from "vite";

// `npm run dev` serves the page with hot reload and passes the rest on to a
// running `skein dev`.
const skein = "http://127.0.0.1:4000";

export default defineConfig({
  build: {
    target: "es2022",
    // The content security policy has no data: scripts or styles, and a page of
    // this size gains nothing from a polyfill for module preloading.
    assetsInlineLimit: 0,
    modulePreload: false,
  },
  server: {
    host: "127.0.0.1",
    proxy: {
      "/socket": { target: skein, ws: true },
      "/demo.json": skein,
    },
  },
});
