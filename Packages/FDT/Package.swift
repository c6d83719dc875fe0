// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

/// Tests call libc and Foundation freely.
let tests = Array(strict.dropFirst())

let package = Package(
    name: "FDT",
    products: [.library(name: "FDT", targets: ["FDT"]), .library(name: "FDTTesting", targets: ["FDTTesting"])],
    targets: [
        .systemLibrary(name: "CFDT", pkgConfig: nil, providers: [.apt(["libfdt-dev"])]),
        .target(name: "FDT", dependencies: ["CFDT"], swiftSettings: strict),
        // For tests of this and other packages: dtc reads a tree back.
        .target(name: "FDTTesting", swiftSettings: strict),
        .testTarget(name: "FDTTests", dependencies: ["FDT", "FDTTesting"], swiftSettings: tests),
    ])
