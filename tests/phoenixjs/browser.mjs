// Debian's chromium, driven by playwright-core.

import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";

const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Browser opens pages and notes whatever they complain about. */
export class Browser {
  complaints = [];
  hosts = new Set();

  async start() {
    const executablePath = candidates.find((candidate) => candidate && existsSync(candidate));
    if (!executablePath) throw new Error("no chromium: install Debian's package, or name another in CHROMIUM");
    // In a container root has no sandbox to give.
    this.browser = await chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] });
    return this;
  }

  async stop() {
    await this.browser?.close();
  }

  /** closeTabs ends every tab, so that old ones do not slow down new ones. */
  async closeTabs() {
    await Promise.all(this.browser.contexts().map((context) => context.close()));
  }

  /** page opens a page that shares nothing with the others. */
  async page(url, options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
    const page = await context.newPage();
    page.on("pageerror", (error) => this.complaints.push(`exception: ${error.message}`));
    page.on("console", (message) => message.type() === "error" && this.complaints.push(message.text()));
    page.on("dialog", (dialog) => {
      this.complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => this.hosts.add(new URL(request.url()).host));
    await page.goto(url);
    return page;
  }

  /** tab opens the demo and waits until it is connected. */
  async tab(url, options = {}) {
    const page = await this.page(url, options);
    await page.waitForSelector('#status[data-state="open"]');
    return new Tab(page);
  }
}

/** Tab is a person in the demo. */
export class Tab {
  constructor(page) {
    this.page = page;
  }

  async say(text) {
    await this.page.fill("#text", text);
    await this.page.press("#text", "Enter");
  }

  /** hears waits for a message with exactly this text. */
  async hears(text) {
    await this.page.locator(".message .text", { hasText: text }).last().waitFor();
  }

  texts() {
    return this.page.locator(".message .text").allTextContents();
  }

  async text(selector) {
    return (await this.page.locator(selector).textContent())?.trim();
  }

  /** picture saves a screenshot if SKEIN_SCREENSHOTS names a folder. */
  async picture(name) {
    const folder = process.env.SKEIN_SCREENSHOTS;
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    await this.page.screenshot({ path: path.join(folder, `${name}.png`) });
  }
}
