"""How the gateway's page looks, in light and in dark."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #66707f; --line: #e3e7ed; --card: #fff; --back: #f5f7fa;
  --good: #17784a; --bad: #b3261e; --wait: #8a5a00; --blue: #2457c5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf2; --soft: #9aa5b4; --line: #2c3542; --card: #1a212b;
  --back: #11161d; --good: #5fcf96; --bad: #ff8a80; --wait: #f0bf5a; --blue: #8fb2ff; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.45 system-ui, sans-serif }
header, main { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1.25rem 0 }
h1 { margin: 0; font-size: 1.5rem } header p { margin: .25rem 0 0; color: var(--soft) } a { color: var(--blue) }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .75rem }
table { border-collapse: collapse; width: 100% } th, td { padding: .7rem 1rem; text-align: left; vertical-align: top }
th { color: var(--soft); font-size: .8rem; font-weight: 600; white-space: nowrap }
tbody tr { border-top: 1px solid var(--line) }
code { font-size: .85rem } small { display: block; color: var(--soft); font-size: .8rem; overflow-wrap: anywhere }
.amount { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.status { border: 1px solid currentColor; border-radius: 1rem; padding: .1rem .6rem; font-size: .85rem }
.captured { color: var(--good) } .failed { color: var(--bad) } .processing, .created { color: var(--wait) }
.refunded, .expired { color: var(--soft) }
.buttons { display: flex; gap: .4rem } form { margin: 0 }
button { font: inherit; padding: .25rem .8rem; border-radius: .5rem; border: 1px solid var(--line); cursor: pointer;
  background: transparent; color: var(--ink) }
button.pay { background: #17784a; border-color: #17784a; color: #fff } button.decline { color: var(--bad) }
button:hover { filter: brightness(1.15) } button:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px }
.notice { background: var(--card); border-left: 4px solid var(--wait); padding: .7rem 1rem; margin: 0 0 1rem }
.empty { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1.5rem }
.empty h2 { margin: 0; font-size: 1.1rem } pre { overflow-x: auto; margin: 0 }
@media (max-width: 50rem) {
  table, tbody, tr, td { display: block } thead { display: none } tr { padding: .6rem 0 }
  td { padding: .2rem 1rem } .amount { text-align: left }
}
"""
