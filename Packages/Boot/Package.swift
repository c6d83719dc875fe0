// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "Boot",
    products: [
        .library(name: "BootX86", targets: ["BootX86"]),
        .library(name: "FDT", targets: ["FDT"]),
    ],
    targets: [
        // Pure data: what x86 kernels and tables look like in bytes. Depends on nothing, compiles on every host.
        .target(name: "BootX86", swiftSettings: strict),
        .systemLibrary(name: "CFDT", pkgConfig: nil, providers: [.apt(["libfdt-dev"])]),
        .target(name: "FDT", dependencies: ["CFDT"], swiftSettings: strict),
        .testTarget(name: "BootX86Tests", dependencies: ["BootX86"], swiftSettings: strict),
        .testTarget(name: "FDTTests", dependencies: ["FDT"], swiftSettings: strict),
    ])
