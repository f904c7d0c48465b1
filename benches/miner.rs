//! Where the time of a request goes. `BENCHMARKS.md` says what was seen.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use convminer::chain::Keypair;
use convminer::features::engineer::engineer;
use convminer::features::{Conversation, reader};
use convminer::model::device::DeviceChoice;
use convminer::model::ensemble::Path;
use convminer::model::{Model as _, Predictor};
use convminer::serve::access::Access;
use convminer::serve::dendrite::wire_features;
use convminer::serve::limits::Rate;
use convminer::serve::models::Registry;
use convminer::serve::nonces::{NonceLimits, Nonces};
use convminer::serve::verify::request_text;
use convminer::serve::{Axon, ServeConfig};
use convminer::subnet::challenge::Challenge;
use convminer::subnet::reward::Truth;
use convminer::subnet::synapse::{EMPTY_BODY_HASH, Terminal, request_body};
use convminer::train::{TrainConfig, train};

/// Rule conversations and their truths.
fn examples(count: usize) -> (Vec<Conversation>, Vec<Truth>) {
    Challenge::Rule
        .examples(7)
        .take(count)
        .map(|example| {
            let mut conversation = Conversation::EMPTY;
            for (index, value) in example.features.iter().enumerate() {
                conversation.set(index, *value);
            }
            (conversation, example.truth)
        })
        .unzip()
}

/// A miner of the default shape, trained as far as closes the gates that stay closed: how many
/// inputs it looks at is part of its speed.
fn miner() -> Predictor {
    let (conversations, truths) = examples(10_000);
    let config = TrainConfig { folds: 1, ..TrainConfig::default() };
    let device = DeviceChoice::Cpu.open().expect("the CPU is always there");
    train(&conversations, &truths, &config, &device, &mut ()).expect("10,000 rows train").predictor
}

/// Signs requests as a dendrite does, each with a nonce of its own.
struct Caller {
    keypair: Keypair,
    axon: String,
    nonce: AtomicU64,
    body: Vec<u8>,
}

impl Caller {
    fn new(axon: &Keypair, conversation: &Conversation) -> Caller {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let features = wire_features("s", conversation);
        let nobody = Terminal::default();
        Caller {
            keypair: Keypair::generate(),
            axon: axon.address().to_owned(),
            // Counted up by one a request, which is slower than the clock runs.
            nonce: AtomicU64::new(now as u64),
            body: request_body(&features, 60.0, &nobody, &nobody),
        }
    }

    fn message(&self) -> (u64, String) {
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed);
        let (us, them) = (self.keypair.address(), &self.axon);
        (nonce, request_text(nonce, us, them, "bench", EMPTY_BODY_HASH))
    }

    fn request(&self) -> Request<Body> {
        let (nonce, message) = self.message();
        Request::post("/ConversionSynapse")
            .header("name", "ConversionSynapse")
            .header("timeout", "60.0")
            .header("content-type", "application/json")
            .header("computed_body_hash", EMPTY_BODY_HASH)
            .header("bt_header_dendrite_ip", "127.0.0.1")
            .header("bt_header_dendrite_version", "10005000")
            .header("bt_header_dendrite_nonce", nonce.to_string())
            .header("bt_header_dendrite_uuid", "bench")
            .header("bt_header_dendrite_hotkey", self.keypair.address())
            .header("bt_header_dendrite_signature", self.keypair.sign(&message))
            .body(Body::from(self.body.clone()))
            .expect("these are headers")
    }
}

fn features(criterion: &mut Criterion) {
    let (conversations, _) = examples(1);
    let conversation = &conversations[0];
    let json = wire_features("s", conversation).to_string();
    let mut group = criterion.benchmark_group("features");
    group.bench_function("read", |bencher| {
        bencher.iter(|| reader::read(black_box(json.as_bytes())));
    });
    group.bench_function("engineer", |bencher| bencher.iter(|| engineer(black_box(conversation))));
    group.finish();
}

fn predict(criterion: &mut Criterion) {
    let predictor = miner();
    let mut group = criterion.benchmark_group("predict");
    for rows in [1, 64] {
        let (conversations, _) = examples(rows);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("batch {rows}"), |bencher| {
            bencher.iter(|| predictor.predict(black_box(&conversations)));
        });
    }
    // The same networks without engineering, calibration and decision, by either path.
    let ensemble = predictor.ensemble.as_ref().expect("10,000 rows bear networks");
    for rows in [1, 8, 32, 64] {
        let (conversations, _) = examples(rows);
        let inputs = predictor.scaler.rows(&conversations);
        for (name, path) in [("lean", Path::Lean), ("tensors", Path::Tensors)] {
            group.bench_function(format!("{name} {rows}"), |bencher| {
                bencher.iter(|| ensemble.outputs_by(path, black_box(&inputs)));
            });
        }
    }
    group.finish();
}

fn keys(criterion: &mut Criterion) {
    let axon = Keypair::generate();
    let caller = Caller::new(&axon, &Conversation::EMPTY);
    let (_, message) = caller.message();
    let signature = caller.keypair.sign(&message);
    let public = caller.keypair.public();
    let mut group = criterion.benchmark_group("sr25519");
    group.bench_function("verify", |bencher| {
        bencher.iter(|| public.verify(black_box(&message), black_box(&signature)));
    });
    group.bench_function("sign", |bencher| bencher.iter(|| axon.sign(black_box(&message))));
    group.finish();
}

async fn ask(router: Router, request: Request<Body>) {
    let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.expect("the body is in memory");
}

/// From headers to the last byte of the answer, without a socket.
fn request(criterion: &mut Criterion) {
    let (conversations, _) = examples(1);
    let keypair = Keypair::generate();
    let caller = Caller::new(&keypair, &conversations[0]);
    let mut config = ServeConfig::new(keypair);
    config.access = Access { allow_unregistered: true, ..Access::default() };
    config.nonces = Some(Nonces::new(NonceLimits::default()));
    config.hotkey_rate = Rate::UNLIMITED;
    let models = Registry::single(Arc::new(miner()));
    let axon = Axon::start(config, Arc::new(models)).expect("there is a thread for the model");
    let router = axon.router();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    criterion.bench_function("request/whole", |bencher| {
        bencher.iter_batched(
            || caller.request(),
            |request| runtime.block_on(ask(router.clone(), request)),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, features, predict, keys, request);
criterion_main!(benches);
