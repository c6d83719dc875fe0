// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "LinuxSys",
    products: [
        .library(name: "LinuxSys", targets: ["LinuxSys"]),
        .library(name: "CLinuxSys", targets: ["CLinuxSys"]),
    ],
    targets: [
        .target(name: "CLinuxSys"),
        .target(name: "LinuxSys", dependencies: ["CLinuxSys"], swiftSettings: strict),
        .target(name: "CTestSupport", path: "Tests/CTestSupport"),
        .testTarget(name: "LinuxSysTests", dependencies: ["LinuxSys", "CTestSupport"], swiftSettings: strict),
    ])
