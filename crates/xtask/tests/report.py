"""Checks the report of a playground: its queries, its numbers, and its appearance in headless Chromium.

Usage: report.py PLAYGROUND UNIFORM [SCREENSHOTS]

PLAYGROUND has all effects, which the report must find. UNIFORM has the answer key of PLAYGROUND, but data without
effects, in which the report must find none. Needs DuckDB, Playwright for Python and Chromium.
"""

import json
import pathlib
import re
import shutil
import sqlite3
import sys
import tempfile

import duckdb
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "docs/exercises"))
import exercises

SECTIONS = ["written", "country", "people", "orders", "baskets", "sessions", "incidents", "planted", "queries"]
WIDTHS = [360, 800, 1400]
MAX_BYTES = 2_000_000
# The minimum contrast between text and its background: WCAG 2, level AA.
MIN_CONTRAST = 4.5
SLOWEST_MILLIS = 180_000

# Reads everything that the checks need from the page as it is displayed.
READ = r"""() => {
    const text = (element) => element.textContent;
    const queries = [...document.querySelectorAll("figure, .findings details")].map((element) => ({
        sql: text(element.querySelector("code")),
        columns: [...element.querySelectorAll(".answer thead th")].map(text),
        rows: [...element.querySelectorAll(".answer tbody tr")].map((row) => [...row.cells].map(text)),
    }));
    const findings = [...document.querySelectorAll(".findings details")].map((element) => ({ ...element.dataset }));
    const records = [...document.querySelectorAll("[data-records]")].map((cell) => [cell.dataset.records, text(cell)]);
    return {
        queries, findings, records,
        sections: [...document.querySelectorAll("main > section")].map((section) => section.id),
        links: [...document.querySelectorAll("nav a")].map((link) => link.getAttribute("href")),
        sentences: [...document.querySelectorAll("figure")].map((figure) => text(figure.querySelector(".look"))),
    };
}"""

# Returns the faults of the page at its current width.
FAULTS = r"""(minContrast) => {
    const faults = [];
    if (document.documentElement.scrollWidth > innerWidth) faults.push("the page is wider than the window");
    for (const card of document.querySelectorAll("figure, .findings")) {
        if (card.scrollWidth > card.clientWidth) faults.push(`${card.textContent.slice(0, 30)}: wider than its card`);
    }
    for (const svg of document.querySelectorAll("svg")) {
        const area = svg.getBoundingClientRect();
        if (area.width === 0) continue;
        const name = svg.getAttribute("aria-label");
        const labels = [...svg.querySelectorAll("text")].filter((label) => label.textContent.trim());
        const boxes = labels.map((label) => [label.textContent, label.getBoundingClientRect()]);
        for (const [text, box] of boxes) {
            const card = svg.closest("figure").getBoundingClientRect();
            if (box.left < card.left || box.right > card.right || box.top < area.top - 4 || box.bottom > area.bottom + 4) {
                faults.push(`${name}: ${text} is clipped`);
            }
            if (box.height < 9) faults.push(`${name}: ${text} is only ${box.height} pixels high`);
        }
        for (let i = 0; i < boxes.length; i++) {
            for (let j = 0; j < i; j++) {
                const [[one, a], [other, b]] = [boxes[i], boxes[j]];
                const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                if (width > 1 && height > 3) faults.push(`${name}: ${one} overlaps ${other}`);
            }
        }
    }
    const luminance = (color) => {
        const [red, green, blue] = color.match(/[\d.]+/g).map(Number).map((value) => value / 255)
            .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const background = (element) => {
        for (; element; element = element.parentElement) {
            const color = getComputedStyle(element).backgroundColor;
            if (!/, 0\)$/.test(color) && color !== "transparent") return color;
        }
    };
    const seen = new Set();
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
        if (!own || element.closest("script, style, [hidden]")) continue;
        const style = getComputedStyle(element);
        const colors = [element.closest("svg") ? style.fill : style.color, background(element)];
        if (seen.has(colors.join())) continue;
        seen.add(colors.join());
        const [high, low] = colors.map(luminance).sort((a, b) => b - a);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < minContrast) faults.push(`${element.textContent.slice(0, 30)}: contrast ${contrast.toFixed(2)} (${colors})`);
    }
    return faults;
}"""


def fail(text):
    sys.exit(f"report.html: {text}")


def manifests(playground):
    """Returns the manifests of a playground by kind."""
    found = [json.loads(file.read_text()) for file in playground.glob("*/_datagen/*.json")]
    orders = sqlite3.connect(playground / "orders.db")
    found += [json.loads(text) for (text,) in orders.execute("SELECT manifest FROM _datagen_manifest")]
    orders.close()
    return {manifest["kind"]: manifest for manifest in found}


def equal(shown, value):
    """Returns whether a cell of the page shows a value that DuckDB returned."""
    if value is None:
        return shown == "NULL"
    if isinstance(value, (int, float)) or hasattr(value, "as_tuple"):
        # Two engines may round the last decimal differently.
        decimals = len(shown.partition(".")[2])
        return abs(float(shown) - float(value)) <= (1.001 * 10**-decimals if decimals else 0)
    return shown == str(value)


def check_queries(page, playground):
    """Runs all queries of the page in DuckDB and compares their rows with those that the page shows."""
    with tempfile.TemporaryDirectory() as directory:
        database = pathlib.Path(directory) / "tables.duckdb"
        exercises.load(playground, database)
        with duckdb.connect(database, read_only=True) as connection:
            for query in page["queries"]:
                result = connection.execute(query["sql"])
                columns = [column[0] for column in result.description]
                rows = result.fetchall()
                if columns != query["columns"] or len(rows) != len(query["rows"]):
                    fail(f"{len(query['rows'])} rows of {query['columns']}, DuckDB has {len(rows)} of {columns}: {query['sql']}")
                for shown, row in zip(query["rows"], rows):
                    if not all(map(equal, shown, row)):
                        fail(f"a row is {shown}, in DuckDB it is {row}: {query['sql']}")


def check_manifests(page, playground):
    """Compares the page's numbers with the manifests."""
    written = manifests(playground)
    records = {what: int(re.sub(r"\D", "", number)) for what, number in page["records"]}
    expected = {
        "users": written["users"]["records"],
        "VIP users": written["vipusers"]["records"],
        "products": written["products"]["records"],
        "orders": written["orders"]["totals"]["orders"],
        "items": written["orders"]["totals"]["items"],
        "pageviews": written["stream"]["pageviews"],
        "stars": written["stream"]["stars"],
    }
    if records != expected:
        fail(f"records are {records}, in the manifests they are {expected}")
    counted = page["queries"][0]["rows"]
    if {what: int(number) for what, number in counted} != expected:
        fail(f"its query counts {counted}, in the manifests they are {expected}")
    shown = {(line["kind"], line["effect"]): int(line["count"]) for line in page["findings"]}
    planted = {
        (kind, effect["effect"]): effect["count"] for kind, manifest in written.items() for effect in manifest["planted"]
    }
    if shown != planted:
        fail(f"planted are {shown}, in the manifests {planted}")


def check_view(browser, path, scheme, width, screenshots):
    """Opens the page in a colour scheme at a width, and returns its contents."""
    problems = []

    def on_request(request):
        if request.url not in (path.as_uri(), "data:,"):
            problems.append(f"request: {request.url}")

    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True)
    # Machines that check this may be busy.
    context.set_default_timeout(SLOWEST_MILLIS)
    tab = context.new_page()
    tab.on("console", lambda message: problems.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: problems.append(f"error: {error}"))
    tab.on("request", on_request)
    tab.goto(path.as_uri(), wait_until="networkidle")
    problems += tab.evaluate(FAULTS, MIN_CONTRAST)
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    if (max(map(int, re.findall(r"\d+", background)[:3])) < 128) != (scheme == "dark"):
        problems.append(f"the background is {background}")
    # A pointer over a bar shows its value.
    bar = tab.locator("svg rect[data-tip]:visible").first
    # Scrolling to the bar hides the value, perhaps only after the pointer has arrived.
    bar.scroll_into_view_if_needed()
    for _ in range(10):
        tab.mouse.move(0, 0)
        bar.hover(force=True)
        if tab.locator("#tip").is_visible():
            break
        tab.wait_for_timeout(100)
    if not tab.locator("#tip").is_visible() or not tab.locator("#tip").text_content():
        problems.append("a pointer over a chart shows no value")
    tab.mouse.move(0, 0)
    if screenshots:
        tab.screenshot(path=screenshots / f"{scheme}-{width}.png", full_page=True)
    contents = tab.evaluate(READ)
    context.close()
    if problems:
        fail(f"{scheme}, {width} pixels wide:\n  " + "\n  ".join(problems))
    return contents


def check_page(browser, path, screenshots):
    """Opens the page in both colour schemes at all widths, and returns its contents."""
    views = [(scheme, width) for scheme in ("light", "dark") for width in WIDTHS]
    return [check_view(browser, path, scheme, width, screenshots) for scheme, width in views][-1]


def main():
    playground, uniform = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    screenshots = pathlib.Path(sys.argv[3]) if sys.argv[3:] and sys.argv[3] else None
    path = playground / "report.html"
    if path.stat().st_size > MAX_BYTES:
        fail(f"{path.stat().st_size} bytes are too many")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=SLOWEST_MILLIS)
        page = check_page(browser, path, screenshots)
        other = check_view(browser, uniform / "report.html", "light", WIDTHS[-1], None)
        browser.close()
    if page["sections"] != SECTIONS or page["links"] != [f"#{section}" for section in SECTIONS]:
        fail(f"the sections are {page['sections']}, the links {page['links']}")
    if not all(sentence.startswith("Look for ") for sentence in page["sentences"]):
        fail("a chart does not say what to look for")
    check_manifests(page, playground)
    check_queries(page, playground)
    check_queries(other, uniform)
    verdicts = {(line["kind"], line["effect"]): line["verdict"] for line in page["findings"]}
    if wrong := [effect for effect, verdict in verdicts.items() if verdict != "found"]:
        fail(f"these effects are not found: {wrong}")
    if wrong := [(line["kind"], line["effect"]) for line in other["findings"] if line["verdict"] != "not found"]:
        fail(f"these effects are found in data without them: {wrong}")
    print(f"report.html: {len(page['queries'])} queries, {len(verdicts)} effects, {path.stat().st_size} bytes: ok")


if __name__ == "__main__":
    main()
