// What the pages show of the client: their scripts compile against it, and import what its build exports.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const pages = ["README.md", "web-demo/README.md"];

/** The browser's script in a page, inside of HTML or alone. */
function script(page: string): string {
  const text = readFileSync(resolve(root, page), "utf8");
  const blocks = [...text.matchAll(/```(html|js)\n(.*?)```/gs)];
  expect(blocks, page).toHaveLength(1);
  const [, kind, code] = blocks[0]!;
  return kind === "html" ? /<script type="module">(.*?)<\/script>/s.exec(code!)![1]! : code!;
}

/** What the compiler says to scripts that stand beside the client's sources. */
function complaints(scripts: string[]): string[] {
  // In HTML an element's id is a global name.
  const texts = scripts.map((text) => `${text.replaceAll('"./tidegate.js"', '"./index"')}\ndeclare const messages: HTMLElement;`);
  const names = scripts.map((_, place) => resolve(import.meta.dirname, `page-${place}.ts`));
  const { config } = ts.readConfigFile(resolve(root, "web-demo/tsconfig.json"), (path) => ts.sys.readFile(path));
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, resolve(root, "web-demo"));
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (path, ...rest) => {
    const text = texts[names.indexOf(path)];
    return text === undefined ? getSourceFile(path, ...rest) : ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);
  };
  const program = ts.createProgram(names, { ...options, types: [], noUnusedLocals: false }, host);
  const said = names.map((name) => {
    const file = program.getSourceFile(name)!;
    const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
    return found.map((one) => ts.flattenDiagnosticMessageText(one.messageText, " ")).join("; ");
  });
  return said;
}

test("scripts of the pages compile, and a wrong one does not", { timeout: 60_000 }, () => {
  const good = pages.map(script);
  const wrong = good.map((text) => text.replace("receiverId", "receiver"));
  const said = complaints([...good, ...wrong]);
  expect(said.slice(0, pages.length)).toEqual(pages.map(() => ""));
  for (const complaint of said.slice(pages.length)) expect(complaint).toContain("receiver");
});

test.each(pages)("%s imports what the build exports", async (page) => {
  const built = (await import(resolve(root, "web-demo/dist/tidegate.js"))) as Record<string, unknown>;
  const names = /import \{ (.*?) \} from "\.\/tidegate\.js"/.exec(script(page))![1]!.split(", ");
  for (const name of names) expect(built[name], name).toBeTypeOf("function");
});
