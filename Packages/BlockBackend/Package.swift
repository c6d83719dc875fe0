// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "BlockBackend",
    products: [.library(name: "BlockBackend", targets: ["BlockBackend"])],
    dependencies: [.package(path: "../LinuxSys")],
    targets: [
        .systemLibrary(name: "CLiburing", providers: [.apt(["liburing-dev"])]),
        .target(
            name: "BlockBackend",
            dependencies: ["CLiburing", .product(name: "LinuxSys", package: "LinuxSys")],
            swiftSettings: strict),
        .target(name: "CBlockTestSupport", path: "Tests/CBlockTestSupport"),
        .testTarget(
            name: "BlockBackendTests",
            dependencies: ["BlockBackend", "CBlockTestSupport", .product(name: "LinuxSys", package: "LinuxSys")],
            swiftSettings: [.treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny")]),
    ])
