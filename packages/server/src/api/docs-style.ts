/** The docs page's only style; its hash stands in the Content-Security-Policy. */
export const DOCS_STYLE = `
:root { color-scheme: light dark; --text: #1d2433; --soft: #5b6478; --line: #e1e5ee; --back: #fff; --panel: #f6f8fb; --accent: #2457d6;
  --get: #1f7a4d; --post: #2457d6; --put: #9a5b00; --delete: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8f1; --soft: #9aa4b8; --line: #2b3243; --back: #12161f; --panel: #1a2030;
  --accent: #8ab0ff; --get: #6fd6a1; --post: #8ab0ff; --put: #f0b45c; --delete: #ff9b94; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--text); background: var(--back); }
a { color: var(--accent); text-underline-offset: 2px; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.skip { position: absolute; left: -999px; } .skip:focus { left: 1rem; top: 1rem; background: var(--back); padding: .5rem; z-index: 1; }
.page { display: grid; grid-template-columns: 19rem minmax(0, 1fr); max-width: 80rem; margin: 0 auto; }
nav { position: sticky; top: 0; align-self: start; height: 100vh; overflow-y: auto; padding: 2rem 1.25rem; border-right: 1px solid var(--line); font-size: .875rem; }
nav h2 { font-size: .75rem; letter-spacing: .06em; text-transform: uppercase; color: var(--soft); margin: 1.5rem 0 .25rem; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav a { display: flex; gap: .5rem; align-items: baseline; padding: .2rem .4rem; border-radius: 4px; color: inherit; text-decoration: none; }
nav a:hover { background: var(--panel); }
nav .brand { font-weight: 700; font-size: 1.05rem; padding-left: .4rem; }
main { padding: 2rem 2.5rem 6rem; min-width: 0; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; }
main > section > h2 { font-size: 1.4rem; margin: 3.5rem 0 0; padding-top: 1rem; border-top: 1px solid var(--line); }
article { margin: 2.25rem 0; }
article h3 { font-size: 1.1rem; margin: 0 0 .4rem; }
h4 { font-size: .8rem; letter-spacing: .04em; text-transform: uppercase; color: var(--soft); margin: 1.1rem 0 .35rem; }
p { margin: .4rem 0; max-width: 46rem; } .lead { font-size: 1.1rem; color: var(--soft); }
.route { display: flex; flex-wrap: wrap; gap: .6rem; align-items: baseline; font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .95rem;
  background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .45rem .7rem; overflow-wrap: anywhere; }
.method { font: 700 .72rem/1.4 ui-monospace, Menlo, Consolas, monospace; min-width: 4em; flex: none; }
.GET { color: var(--get); } .POST { color: var(--post); } .PUT { color: var(--put); } .DELETE { color: var(--delete); }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .86em; }
code { background: var(--panel); border-radius: 3px; padding: .1em .3em; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto; line-height: 1.5; margin: .35rem 0; }
pre code { background: none; padding: 0; font-size: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: .8rem; } td:first-child { white-space: nowrap; }
.needed { color: var(--delete); font-size: .75rem; margin-left: .35em; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
@media (max-width: 56rem) { .page { display: block; } nav { position: static; height: auto; border-right: 0; border-bottom: 1px solid var(--line); padding: 1.25rem; }
  main { padding: 1.25rem 1.25rem 4rem; } td:first-child { white-space: normal; } }
`;
