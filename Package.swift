// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "stratovirt",
    products: [.executable(name: "stratovirt", targets: ["stratovirt"])],
    dependencies: [
        .package(path: "Packages/Hypervisor"),
        .package(path: "Packages/LinuxSys"),
        .package(path: "Packages/MachineManager"),
        .package(path: "Packages/Machine"),
    ],
    targets: [
        .target(name: "CRuntime", path: "App/CRuntime"),
        .executableTarget(
            name: "stratovirt",
            dependencies: [
                "CRuntime",
                .product(name: "Hypervisor", package: "Hypervisor"),
                .product(name: "LinuxSys", package: "LinuxSys"),
                .product(name: "MachineManager", package: "MachineManager"),
                .product(name: "Machine", package: "Machine"),
            ],
            path: "App/Sources", swiftSettings: strict),
        .target(name: "CProgramTests", path: "Tests/CProgramTests"),
        .testTarget(name: "ProgramTests",
            dependencies: ["CProgramTests", .product(name: "LinuxSys", package: "LinuxSys")], path: "Tests/Program"),
    ])
