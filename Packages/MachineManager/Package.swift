// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "MachineManager",
    products: [.library(name: "MachineManager", targets: ["MachineManager"])],
    dependencies: [.package(path: "../LinuxSys")],
    targets: [
        .target(name: "MachineManager", dependencies: [.product(name: "LinuxSys", package: "LinuxSys")], swiftSettings: strict),
        .testTarget(
            name: "MachineManagerTests", dependencies: ["MachineManager", .product(name: "LinuxSys", package: "LinuxSys")],
            swiftSettings: [.treatAllWarnings(as: .error)]),
    ]
)
