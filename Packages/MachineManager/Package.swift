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
    targets: [
        .target(name: "MachineManager", swiftSettings: strict),
        .testTarget(name: "MachineManagerTests", dependencies: ["MachineManager"], swiftSettings: strict),
    ]
)
