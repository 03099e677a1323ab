//! What a sandbox reaches, and what it does not.

use std::{any::Any, net::TcpListener, process::Command, sync::Arc};

use evoke_sandbox::{ApiGuard, ApiServer, Network, Outside, ProcessDriver, SandboxDriver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{NODE, PYTHON, Stage, config, read_line, spec, wants_root};

/// Answers every connection with the sandbox's name.
struct Greeter;

impl ApiServer for Greeter {
    fn serve(&self, sandbox: &str, listener: TcpListener) -> ApiGuard {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let text = format!("HTTP/1.0 200 OK\r\n\r\nhello {sandbox}");
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                if stream.read(&mut request).await.is_ok() {
                    stream.write_all(text.as_bytes()).await.unwrap();
                }
            }
        });
        Box::new(tasks) as Box<dyn Any + Send>
    }
}

const ASK: &str = "
import os, urllib.request
print(urllib.request.urlopen(os.environ['__OW_API_HOST'], timeout=10).read().decode())";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_inside_for_each_and_absent_without_a_network() {
    let data = tempfile::tempdir().unwrap();
    let driver = ProcessDriver::open(config(data.path()), Arc::new(Greeter)).await.unwrap();
    let stage = Stage { driver, data };
    for name in ["one", "two"] {
        let mut spec = spec(name, PYTHON, ASK);
        spec.network = Network::Egress;
        let outcome = stage.run(spec).await;
        assert_eq!(outcome.stdout, format!("hello {name}\n"), "{}", outcome.stderr);
    }
    let node = "fetch(process.env.__OW_API_HOST).then(r=>r.text()).then(t=>console.log(t))";
    let mut three = spec("three", NODE, node);
    three.network = Network::Egress;
    assert_eq!(stage.run(three).await.stdout, "hello three\n");
    let refused = "
import os, socket
print('__OW_API_HOST' in os.environ)
try: socket.create_connection(('127.0.0.1', 3233), 5); print('open')
except OSError as e: print(type(e).__name__)
print([name for _, name in socket.if_nameindex()] if False else sorted(l.split(':')[0].strip() for l in open('/proc/self/net/dev').readlines()[2:]))";
    let outcome = stage.python("four", refused).await;
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], ["False", "ConnectionRefusedError"], "{}", outcome.stderr);
    assert!(!lines[2].contains("eth"), "{}", lines[2]);
}

/// A host outside: a namespace with a public-looking address, routed to by a link.
struct Outer {
    name: String,
    server: std::process::Child,
}

const OUTSIDE: &str = "203.0.113.1";
const PRIVATE: &str = "10.77.0.1";

const SERVE: &str = "
import socket, threading, sys
def dns(s):
    while True:
        q, a = s.recvfrom(4096)
        end = q.index(b'\\0', 12) + 5
        s.sendto(q[:2] + b'\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0' + q[12:end] + b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4' + bytes([203,0,113,1]), a)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('203.0.113.1', 53))
threading.Thread(target=dns, args=(u,), daemon=True).start()
t = socket.create_server(('0.0.0.0', 8080))
print('up', flush=True)
while True:
    c, a = t.accept(); c.sendall(('from ' + a[0]).encode()); c.close()";

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

impl Outer {
    fn new() -> Self {
        let name = format!("evt{}", std::process::id());
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name out netns {name}"));
        ip(&format!("addr add 203.0.113.2/24 dev {name}"));
        ip(&format!("addr add 10.77.0.2/24 dev {name}"));
        ip(&format!("link set {name} up"));
        for words in [
            "addr add 203.0.113.1/24 dev out",
            "addr add 10.77.0.1/24 dev out",
            "link set out up",
            "link set lo up",
        ] {
            ip(&format!("-n {name} {words}"));
        }
        let server = Command::new("ip")
            .args(["netns", "exec", &name, PYTHON, "-c", SERVE])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut outer = Self { name, server };
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(outer.server.stdout.as_mut().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        assert_eq!(line, "up\n");
        outer
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        // The link goes with it when its other end's namespace is gone; this end is ours to remove.
        ip(&format!("link del {}", self.name));
        ip(&format!("netns del {}", self.name));
    }
}

fn connects(address: &str, port: u16) -> String {
    format!(
        "
import socket
try: print(socket.create_connection(('{address}', {port}), 2).recv(100).decode())
except OSError as e: print('no', type(e).__name__)
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn egress_reaches_the_outside_and_nothing_private() {
    if !wants_root("links outside are made by root") {
        return;
    }
    let _outer = Outer::new();
    let stage = Stage::with(|c| c.dns_upstream = Some("203.0.113.1:53".parse().unwrap())).await;
    let report = stage.driver.report();
    assert_eq!(report.outside, Outside::Egress, "{:?}", report.notes);
    let host = TcpListener::bind("0.0.0.0:0").unwrap();
    let host_port = host.local_addr().unwrap().port();
    let ask = async |stage: &Stage, name: &str, code: String| {
        let mut spec = spec(name, PYTHON, &code);
        spec.network = Network::Egress;
        stage.run(spec).await.stdout.trim().to_owned()
    };
    // The outside sees the host's address, never the sandbox's.
    assert_eq!(ask(&stage, "out", connects(OUTSIDE, 8080)).await, "from 203.0.113.2");
    assert_eq!(ask(&stage, "name", connects("example.test", 8080)).await, "from 203.0.113.2");
    assert_eq!(ask(&stage, "private", connects(PRIVATE, 8080)).await, "no TimeoutError");
    for address in ["203.0.113.2", "10.77.0.2", "169.254.169.254", "192.168.0.1", "100.64.0.1"] {
        let answer = ask(&stage, "host", connects(address, host_port)).await;
        assert!(answer.starts_with("no "), "{address}: {answer}");
    }
    let loopback = ask(&stage, "loop", connects("127.0.0.1", host_port)).await;
    assert_eq!(loopback, "no ConnectionRefusedError");
    // With the range allowed the same is reached: it was the rule that refused.
    let open = Stage::with(|c| c.allow = vec!["10.77.0.0/24".parse().unwrap()]).await;
    assert_eq!(ask(&open, "allowed", connects(PRIVATE, 8080)).await, "from 10.77.0.2");
    assert_eq!(ask(&open, "still", connects("10.77.0.2", host_port)).await, "no TimeoutError");
    open.driver.close().await;
    stage.driver.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_does_not_reach_another() {
    if !wants_root("links outside are made by root") {
        return;
    }
    // Even where the operator allows the range that the links are cut from.
    let stage = Stage::with(|c| c.allow = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let serve = "
import socket, fcntl, struct
s = socket.create_server(('0.0.0.0', 9090))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(('203.0.113.9', 9))
print(u.getsockname()[0], flush=True)
c, a = s.accept(); c.sendall(b'reached')";
    let mut server = spec("server", PYTHON, serve);
    server.network = Network::Egress;
    let server = stage.start(server).await;
    let address = read_line(&server.stdout).await;
    assert!(address.starts_with("10.203."), "{address}");
    let mut client = spec("client", PYTHON, &connects(&address, 9090));
    client.network = Network::Egress;
    let outcome = stage.run(client).await;
    assert_eq!(outcome.stdout.trim(), "no TimeoutError", "{}", outcome.stderr);
    server.life.kill().await;
    stage.driver.close().await;
}
