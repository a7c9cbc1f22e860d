use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tonic_health::ServingStatus as Status;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};
use tower::ServiceExt;

use super::*;
use crate::config::validated::{Peer, Trust, UrlHost, UrlPort};
use crate::probe::example::{PATIENCE, SHORT, connector, nobody, server, steps};
use crate::probe::report::Verdict;
use crate::probe::tls_peer::{Authority, Shown, Wanted};
use crate::system::tls;

fn check_of(service: &str, tls: Option<Trust>) -> GrpcProbe {
    let peer = Peer { host: UrlHost::Container, port: UrlPort::Number(1) };
    GrpcProbe { peer, service: service.to_owned(), tls }
}

async fn ask(probe: &GrpcProbe, endpoint: &Endpoint, limit: Duration) -> Report {
    let tasks = Tasks::new();
    let report = super::probe(probe, endpoint, &connector(), &tasks, limit).await;
    assert!(tasks.end(PATIENCE).await.is_empty(), "a connection was left working");
    report
}

fn beside() -> Beside {
    Beside { tasks: Tasks::new(), until: CancellationToken::new() }
}

async fn serve<S>(stream: S, health: HealthServer<impl Health>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| health.clone().oneshot(request));
    let _gone =
        hyper::server::conn::http2::Builder::new(beside()).serve_connection(TokioIo::new(stream), service).await;
}

/// A real health server: `shop` is as told, the server as a whole serves.
async fn healthy() -> (Endpoint, HealthReporter) {
    let (reporter, health) = health_reporter();
    reporter.set_service_status("shop", Status::Serving).await;
    let endpoint = server(move |stream| serve(stream, health.clone())).await;
    (endpoint, reporter)
}

/// A gRPC server that answers every call with these headers and this body.
async fn answering(status: Option<&'static str>, body: Vec<u8>) -> Endpoint {
    let body = Bytes::from(body);
    server(move |stream| {
        let body = body.clone();
        async move {
            let service = service_fn(move |_| {
                let answer = Response::builder().header("content-type", "application/grpc");
                let answer = status.into_iter().fold(answer, |answer, status| answer.header("grpc-status", status));
                let answer = answer.header("grpc-message", "hunter2").body(Full::new(body.clone()));
                std::future::ready(answer)
            });
            let connection = hyper::server::conn::http2::Builder::new(beside());
            let _gone = connection.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await
}

#[tokio::test]
async fn each_status_has_its_word() {
    let (endpoint, reporter) = healthy().await;
    let report = ask(&check_of("", None), &endpoint, PATIENCE).await;
    assert_eq!((report.verdict, &*steps(&report)), (Verdict::Passed, "connect request status"), "{}", report.evidence);
    for (status, verdict, word) in [
        (Status::Serving, Verdict::Passed, "SERVING"),
        (Status::NotServing, Verdict::Failed, "NOT_SERVING"),
        (Status::Unknown, Verdict::Failed, "UNKNOWN"),
    ] {
        reporter.set_service_status("shop", status).await;
        let report = ask(&check_of("shop", None), &endpoint, PATIENCE).await;
        assert_eq!(report.verdict, verdict, "{}", report.evidence);
        assert!(report.evidence.starts_with(word), "{}", report.evidence);
    }
    let report = ask(&check_of("shpo", None), &endpoint, PATIENCE).await;
    assert!(report.evidence.starts_with("NOT_FOUND") && report.evidence.contains("shpo"), "{}", report.evidence);
    for (code, word) in
        [("12", "UNIMPLEMENTED"), ("16", "UNAUTHENTICATED"), ("7", "PERMISSION_DENIED"), ("8", "code 8")]
    {
        let report = ask(&check_of("", None), &answering(Some(code), Vec::new()).await, PATIENCE).await;
        assert_eq!((report.verdict, &*steps(&report)), (Verdict::Failed, "connect request!"));
        assert!(report.evidence.contains(word), "{}", report.evidence);
        assert!(!format!("{report:?}").contains("hunter2"), "{report:?}");
    }
    // As `Watch` would say it: a message of one field, number 1, value 3.
    let report = ask(&check_of("", None), &answering(None, vec![0, 0, 0, 0, 2, 8, 3]).await, PATIENCE).await;
    assert_eq!(report.verdict, Verdict::Failed, "{}", report.evidence);
}

#[tokio::test]
async fn what_is_no_grpc_fails_in_words() {
    let silent = server(|stream| async move {
        let _kept_open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let closing = server(|stream| async move { drop(stream) }).await;
    let old = server(|mut stream| async move {
        let _asked = stream.read(&mut [0; 1024]).await;
        let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let endless = server(|mut stream| async move {
        let rubbish = vec![0xff; 1 << 20];
        while stream.write_all(&rubbish).await.is_ok() {}
    })
    .await;
    let mut huge = vec![0, 0, 16, 0, 0];
    huge.resize(1 << 20, 8);
    let rows = [
        (nobody().await, PATIENCE, "connect!", "refused"),
        (silent, SHORT, "connect request!", "did not answer the health call"),
        (closing, PATIENCE, "connect request!", ""),
        (old, PATIENCE, "connect request!", ""),
        (endless, PATIENCE, "connect request!", ""),
        (answering(None, huge).await, PATIENCE, "connect request!", "code 11"),
        (answering(None, vec![7; 3]).await, PATIENCE, "connect request!", ""),
    ];
    for (endpoint, limit, wanted, words) in rows {
        let report = ask(&check_of("", None), &endpoint, limit).await;
        assert_eq!((report.verdict, &*steps(&report)), (Verdict::Failed, wanted), "{}", report.evidence);
        assert!(report.evidence.len() > 10 && report.evidence.contains(words), "{}", report.evidence);
    }
}

#[tokio::test]
async fn over_tls_it_trusts_as_its_check_says() {
    tls::install_provider();
    let authority = Authority::root();
    let shown: Shown = authority.signs(&Wanted::default());
    let key = SingleCertAndKey::from(Arc::unwrap_or_clone(shown.certified()));
    let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(key));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (acceptor, (_reporter, health)) = (TlsAcceptor::from(Arc::new(config)), health_reporter());
    let endpoint = server(move |stream| {
        let (acceptor, health) = (acceptor.clone(), health.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, health).await;
            }
        }
    })
    .await;
    let trusting = Trust { roots: vec![authority.der.clone()], ..Trust::default() };
    let report = ask(&check_of("", Some(trusting)), &endpoint, PATIENCE).await;
    assert_eq!((report.verdict, &*steps(&report)), (Verdict::Passed, "connect tls request status"), "{report:?}");
    assert!(report.certificate_expiry.is_some());
    let report = ask(&check_of("", Some(Trust::default())), &endpoint, PATIENCE).await;
    assert_eq!((report.verdict, &*steps(&report)), (Verdict::Failed, "connect tls!"), "{report:?}");
    let report = ask(&check_of("", None), &endpoint, PATIENCE).await;
    assert_eq!((report.verdict, &*steps(&report)), (Verdict::Failed, "connect request!"), "{report:?}");
}
