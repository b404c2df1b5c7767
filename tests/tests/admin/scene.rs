//! A router with its page, whoever attacks it, and the owner who works meanwhile.

use std::net::IpAddr;
use std::time::Duration;

use lab::talk::{heard, percentile};
use lab::{Lab, PASSWORD, Postern, Process, ROUTER_SETTINGS, Said, Talk, Visitor, wait};
use postern::door::client::Door;
use postern::door::messages::{Call, Password, Request, Response};
use tokio::runtime::{Builder, Runtime};

/// A form token that a visitor without a login may choose himself: it must only be the same in cookie and form.
pub const TOKEN: &str = "abababababababababababababababababababababababababababababababab";

/// A router with an owner, whose page answers.
#[track_caller]
pub fn router(lab: &Lab) -> Postern {
    let mut postern = lab.postern();
    postern.claim();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    postern.start_web(lab);
    postern
}

/// The owner at laptop1, logged in; after wrong passwords he waits as he must.
#[track_caller]
pub fn logged_in(lab: &Lab, postern: &Postern) -> Visitor {
    let mut owner = postern.visitor(lab, "laptop1");
    let taken = wait::until(Duration::from_secs(90), || {
        let form = owner.form("/login", "password").fill("password", PASSWORD);
        (owner.submit("/login", &form).status == 303).then_some(())
    });
    assert!(taken.is_some(), "the right password is not taken");
    owner
}

/// The owner's cookies as a header.
pub fn cookie(owner: &Visitor) -> String {
    let pairs: Vec<String> = owner.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("Cookie: {}\r\n", pairs.join("; "))
}

/// A POST as a browser at 192.168.1.1 would send it, with more header lines.
pub fn post(path: &str, more: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 192.168.1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

/// The cookie that goes with [`TOKEN`].
pub fn visitor_cookie() -> String {
    format!("Cookie: postern-form={TOKEN}\r\n")
}

/// A login with this password.
pub fn login(password: &str) -> String {
    post("/login", &visitor_cookie(), &format!("token={TOKEN}&password={password}"))
}

/// The owner who opens pages, one after the other, four a second, while something happens.
pub struct Work(Process);

impl Work {
    #[track_caller]
    pub fn begin(lab: &Lab, owner: &Visitor) -> Self {
        let request =
            format!("GET / HTTP/1.1\r\nHost: 192.168.1.1\r\n{}Connection: close\r\n\r\n", cookie(owner));
        let talk = Talk { pause_ms: 250, limit_ms: 60_000, ..Talk::new(1, vec![Said::new(request); 2000]) };
        let work = Self(lab.host("laptop1").talking(&talk));
        assert!(
            wait::until(wait::SOON, || (work.pages() > 2).then_some(())).is_some(),
            "the owner sees nothing"
        );
        work
    }

    pub fn pages(&self) -> usize {
        heard(&self.0).len()
    }

    /// Every page came, and was one; how long the middle one, 95 of 100 and the slowest took, in milliseconds.
    #[track_caller]
    pub fn end(mut self, what: &str) -> String {
        self.0.kill();
        let all = heard(&self.0);
        let bad: Vec<_> = all.iter().filter(|one| one.status() != 200).collect();
        assert!(
            bad.is_empty(),
            "{what}: {} of the owner's {} pages: {:?}",
            bad.len(),
            all.len(),
            bad.first()
        );
        let times: Vec<u64> = all.iter().filter_map(|one| one.first_ms).collect();
        let [half, most, worst] = [50, 95, 100].map(|hundredth| percentile(times.clone(), hundredth));
        format!("the owner's {} pages meanwhile: {half} ms, p95 {most} ms, slowest {worst} ms", all.len())
    }
}

/// Asks at `web.sock`, as the web process does.
pub struct Caller {
    door: Door,
    runtime: Runtime,
}

impl Caller {
    pub fn at(postern: &Postern) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { door: Door::new(postern.admin_socket().with_file_name("web.sock")), runtime }
    }

    pub fn try_ask(&self, ticket: Option<&str>, attended: bool, request: Request) -> Option<Response> {
        let source = Some(IpAddr::from([192, 168, 1, 101]));
        let call = Call { ticket: ticket.map(str::to_owned), source, attended, request };
        self.runtime.block_on(self.door.call(call)).ok()
    }

    #[track_caller]
    pub fn ask(&self, ticket: Option<&str>, request: Request) -> Response {
        self.try_ask(ticket, true, request).expect("the daemon answers")
    }

    #[track_caller]
    pub fn log_in(&self) -> String {
        match self.ask(None, Request::Login { password: Password(PASSWORD.to_owned()) }) {
            Response::Ticket { ticket } => ticket,
            other => panic!("the right password gives no ticket: {other:?}"),
        }
    }
}

/// Memory of a process in kB, by the field of `/proc/PID/status`.
#[track_caller]
pub fn kilobytes(field: &str) -> u64 {
    field.split(' ').next().and_then(|kb| kb.parse().ok()).expect("a number of kB")
}

/// Passwords and codes that were looked at, and were wrong.
pub fn looked_at(postern: &Postern) -> usize {
    postern.daemon_said().lines().filter(|line| line.contains("wrong password from")).count()
}
