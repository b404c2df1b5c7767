//! Headless Chromium on a host of the lab, driven through chromedriver.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::host::Host;
use crate::http::Request;
use crate::process::Process;
use crate::wait;

/// A new, empty browser that speaks to nobody but the pages it is sent to.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--window-size=1280,900",
];
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const PORT: u16 = 9515;
/// A page of ours is there long before; a busy machine starts Chromium slowly.
const START: Duration = Duration::from_secs(60);

/// One browser window.
#[derive(Debug)]
pub struct Browser {
    host: Host,
    driver: Process,
    session: String,
}

impl Browser {
    /// Starts Chromium on `host`.
    ///
    /// # Panics
    /// When chromium or chromedriver is missing or does not start.
    #[track_caller]
    #[must_use]
    pub fn start(host: &Host) -> Self {
        for (program, package) in
            [("/usr/bin/chromium", "chromium"), ("/usr/bin/chromedriver", "chromium-driver")]
        {
            assert!(
                Path::new(program).exists(),
                "{program} is missing: tests/run installs the package {package}"
            );
        }
        let folder = format!("/run/lab/browser-{}", host.name);
        host.ok(&["mkdir", "-p", &folder]);
        let mut command = host.command(&["chromedriver", &format!("--port={PORT}")]);
        command
            .env("HOME", &folder)
            .env("TMPDIR", &folder)
            .env("XDG_CONFIG_HOME", &folder)
            .env("XDG_CACHE_HOME", &folder);
        let mut driver = Process::start(command, "chromedriver", None);
        driver.wait_for_line("was started successfully", START);
        let mut browser = Self { host: host.clone(), driver, session: String::new() };
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={folder}/profile"));
        let options = json!({ "args": flags, "binary": "/usr/bin/chromium" });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "WARNING" } });
        let answer =
            browser.command("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = answer["sessionId"].as_str().unwrap_or_default().to_owned();
        browser
    }

    /// One WebDriver command; its value, or the error in words.
    fn try_command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let headers = vec![
            ("Host".to_owned(), to.to_string()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        let request = Request { to, method: method.into(), path: path.into(), headers, body };
        let response = self.host.http(&request)?;
        let answer: Value = serde_json::from_str(&response.body).map_err(|error| error.to_string())?;
        if response.status == 200 {
            Ok(answer["value"].clone())
        } else {
            Err(answer["value"]["message"].to_string())
        }
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        match self.try_command(method, path, body) {
            Ok(value) => value,
            Err(error) => panic!("the browser refused {method} {path}: {error}\n{}", self.driver.said()),
        }
    }

    fn own(&self, rest: &str) -> String {
        format!("/session/{}{rest}", self.session)
    }

    /// Opens a page and waits until it is loaded.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.command("POST", &self.own("/url"), &json!({ "url": url }));
    }

    /// Where the window is now.
    #[track_caller]
    #[must_use]
    pub fn url(&self) -> String {
        self.command("GET", &self.own("/url"), &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// The first element that `css` selects, if there is one now.
    fn find(&self, css: &str) -> Option<String> {
        let body = json!({ "using": "css selector", "value": css });
        let found = self.try_command("POST", &self.own("/element"), &body).ok()?;
        found[ELEMENT].as_str().map(str::to_owned)
    }

    /// Waits for an element.
    #[track_caller]
    fn element(&self, css: &str) -> String {
        match wait::until(wait::SOON, || self.find(css)) {
            Some(element) => element,
            None => panic!("no `{css}` at {}:\n{}", self.url(), self.text("body")),
        }
    }

    /// Whether `css` selects something now.
    #[must_use]
    pub fn shows(&self, css: &str) -> bool {
        self.find(css).is_some()
    }

    /// Waits until `css` selects something.
    #[track_caller]
    pub fn wait_for(&self, css: &str) {
        self.element(css);
    }

    /// Clicks the first element that `css` selects and that is to be seen (a menu may be there twice, for two widths).
    #[track_caller]
    pub fn click(&self, css: &str) {
        let body = json!({ "using": "css selector", "value": css });
        let seen = wait::until(wait::SOON, || {
            let found = self.try_command("POST", &self.own("/elements"), &body).ok()?;
            let ids =
                found.as_array()?.iter().filter_map(|element| element[ELEMENT].as_str().map(str::to_owned));
            ids.into_iter().find(|id| {
                let path = self.own(&format!("/element/{id}/displayed"));
                self.try_command("GET", &path, &Value::Null) == Ok(Value::Bool(true))
            })
        });
        let Some(element) = seen else {
            panic!("no `{css}` to be seen at {}:\n{}", self.url(), self.text("body"))
        };
        self.command("POST", &self.own(&format!("/element/{element}/click")), &json!({}));
    }

    /// Types into the element.
    #[track_caller]
    pub fn type_into(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.command("POST", &self.own(&format!("/element/{element}/value")), &json!({ "text": text }));
    }

    /// Sends the form that has the element, by its submit button.
    #[track_caller]
    pub fn submit(&self, css: &str) {
        let script = "const f = document.querySelector(arguments[0]).form; \
                      f.querySelector('button[type=submit],button:not([type]),input[type=submit]').click();";
        self.element(css);
        self.script(script, &json!([css]));
    }

    /// An attribute of the element, as the page's source has it.
    #[track_caller]
    #[must_use]
    pub fn attribute(&self, css: &str, name: &str) -> Option<String> {
        let element = self.element(css);
        let value =
            self.command("GET", &self.own(&format!("/element/{element}/attribute/{name}")), &Value::Null);
        value.as_str().map(str::to_owned)
    }

    /// The text that is seen of the element; empty: there is none.
    #[must_use]
    pub fn text(&self, css: &str) -> String {
        let Some(element) = self.find(css) else { return String::new() };
        let text = self.try_command("GET", &self.own(&format!("/element/{element}/text")), &Value::Null);
        text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Runs a script in the page.
    #[track_caller]
    pub fn script(&self, script: &str, arguments: &Value) -> Value {
        self.command("POST", &self.own("/execute/sync"), &json!({ "script": script, "args": arguments }))
    }

    /// Problems the browser saw in the page: refused by the content security policy, failed loads, script errors.
    #[track_caller]
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("POST", &self.own("/se/log"), &json!({ "type": "browser" }));
        let lines = log.as_array().cloned().unwrap_or_default();
        lines.iter().filter_map(|line| line["message"].as_str().map(str::to_owned)).collect()
    }

    fn devtools(&self, name: &str, parameters: &Value) -> Value {
        self.command("POST", &self.own("/goog/cdp/execute"), &json!({ "cmd": name, "params": parameters }))
    }

    /// Makes the window look like a screen of this width, and dark or light.
    #[track_caller]
    pub fn look(&self, width: u32, dark: bool) {
        let height = if width < 600 { 844 } else { 900 };
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [scheme] }));
    }

    /// Whether the page is wider than its window: then a phone scrolls sideways.
    #[track_caller]
    #[must_use]
    pub fn scrolls_sideways(&self) -> bool {
        let script = "return document.documentElement.scrollWidth > window.innerWidth;";
        self.script(script, &json!([])).as_bool().unwrap_or(true)
    }

    /// Saves pictures `NAME-desktop.png`, `-phone`, `-dark` of the page in `folder`.
    ///
    /// # Panics
    /// When they cannot be written.
    #[track_caller]
    pub fn picture(&self, folder: &Path, name: &str) {
        for (look, width, dark) in [("desktop", 1280, false), ("phone", 390, false), ("dark", 1280, true)] {
            self.look(width, dark);
            let shot = self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
            let file = std::fs::File::create(folder.join(format!("{name}-{look}.png")));
            let file = file.expect("the folder for pictures can be written");
            let mut decode = Command::new("base64");
            decode.arg("--decode").stdin(Stdio::piped()).stdout(file);
            let mut child = decode.spawn().expect("base64 can be started");
            let bytes = shot["data"].as_str().unwrap_or_default().as_bytes();
            if let Some(mut pipe) = child.stdin.take() {
                std::io::Write::write_all(&mut pipe, bytes).expect("base64 reads its input");
            }
            assert!(child.wait().is_ok_and(|status| status.success()), "a picture is base64");
        }
        self.look(1280, false);
    }
}
