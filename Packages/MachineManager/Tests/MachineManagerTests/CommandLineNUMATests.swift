import Testing

@testable import MachineManager

@Suite struct CommandLineNUMATests {
    /// Four vCPUs, 2 GiB, and two backends of 1 GiB.
    private static let machine = [
        "-initrd", "i", "-smp", "4", "-m", "2G", "-object", "memory-backend-ram,id=m0,size=1G", "memory-backend-memfd,id=m1,size=1G",
    ]

    private func nodes(_ values: String...) throws -> [VmConfig.NUMANode] { try parse(["-numa"] + values + Self.machine).nodes }
    private func refusal(_ values: String..., machine: [String] = machine) -> String { message(["-numa"] + values + machine) }

    private static let node0 = "node,nodeid=0,cpus=0-1,memdev=m0"
    private static let node1 = "node,nodeid=1,cpus=[2:3],memdev=m1"

    @Test func nodes_areOrderedByNumber_whateverTheCommandLinesOrder() throws {
        var first = VmConfig.NUMANode(number: 0)
        (first.cpus, first.memory) = ([0, 1], "m0")
        var second = VmConfig.NUMANode(number: 1)
        (second.cpus, second.memory) = ([2, 3], "m1")
        #expect(try nodes(Self.node1, Self.node0) == [first, second])
        let config = try parse(Self.machine + ["-numa", Self.node0, "-numa", Self.node1])
        #expect(config.nodes == [first, second] && config.nodeMemory.map(\.id) == ["m0", "m1"])
        #expect((0..<5).map { config.node(ofCPU: $0) } == [0, 0, 1, 1, nil])
        #expect(config.unusedParts(on: .x86_64).isEmpty && !config.isMemoryShared)
    }

    @Test func cpusOfNoNode_belongToNode0_orTheFirst() throws {
        #expect(try nodes("node,nodeid=0,cpus=2,memdev=m0", "node,nodeid=1,cpus=0,memdev=m1").map(\.cpus) == [[1, 2, 3], [0]])
        #expect(try nodes("node,nodeid=9,cpus=2,memdev=m0", "node,nodeid=127,cpus=0,memdev=m1").map(\.cpus) == [[1, 2, 3], [0]])
    }

    @Test func nodeMayHaveOnlyMemory_orOnlyCPUs() throws {
        #expect(try nodes("node,nodeid=0,memdev=m0", "node,nodeid=1,memdev=m1").map(\.cpus) == [[0, 1, 2, 3], []])
        let three = try nodes("node,nodeid=0,memdev=m0", "node,nodeid=1,memdev=m1", "node,nodeid=2,cpus=0-3")
        #expect(three.map(\.memory) == ["m0", "m1", nil] && three.map(\.cpus) == [[], [], [0, 1, 2, 3]])
    }

    @Test func distances_areGivenOrTheUsualOnes() throws {
        let both = try nodes(Self.node0, Self.node1, "dist,src=0,dst=1,val=255", "dist,src=1,dst=1,val=10")
        #expect(both[0].distance(to: 0) == 10 && both[0].distance(to: 1) == 255)
        #expect(both[1].distance(to: 0) == 20 && both[1].distance(to: 1) == 10)
    }

    @Test(arguments: [
        ("node,nodeid=128,memdev=m0", "-numa node: nodeid= must be a number from 0 to 127, not '128'"),
        ("node,memdev=m0", "-numa node: nodeid= is missing"),
        ("node,nodeid=0,cpus=0-1", "-numa: the nodes have 1G of memory, and -m says 2G"),
        ("node,nodeid=0,cpus=4,memdev=m0", "-numa node: cpus= names vCPU 4, and -smp has 4"),
        ("node,nodeid=0,cpus=3-2,memdev=m0", "-numa node: cpus= must be a list such as 0-1:4 of numbers from 0 to 253, not '3-2'"),
        ("node,nodeid=0,cpus=2,memdev=m0", "-numa node: vCPU 2 is in two nodes"),
        ("node,nodeid=1,memdev=m0", "-numa node: nodeid=1 is used twice"),
        ("node,nodeid=0,memdev=m1", "-numa node: memory backend 'm1' is used twice"),
        ("node,nodeid=0,memdev=x", "-numa node: there is no -object memory-backend-ram, -file or -memfd with id 'x'"),
        ("node,nodeid=0", "-numa node: needs cpus= or memdev="),
        ("", "-numa: needs a NUMA setting"), ("cpu", "-numa: unknown NUMA setting 'cpu'"),
        ("node,nodeid=0,mem=1G", "-numa node: unknown parameter 'mem'"),
    ])
    func wrongNodes_areRefused(_ value: String, _ sentence: String) { #expect(refusal(Self.node1, value) == sentence) }

    @Test(arguments: [
        ("dist,src=0,dst=1,val=10", "-numa dist: val= between two nodes must be more than 10"),
        ("dist,src=0,dst=0,val=11", "-numa dist: val= from a node to itself must be 10"),
        ("dist,src=0,dst=1,val=9", "-numa dist: val= must be a number from 10 to 255, not '9'"),
        ("dist,src=0,dst=1,val=256", "-numa dist: val= must be a number from 10 to 255, not '256'"),
        ("dist,src=0,dst=2,val=20", "-numa dist: there are no -numa nodes 0 and 2"),
        ("dist,src=2,dst=0,val=20", "-numa dist: there are no -numa nodes 2 and 0"),
        ("dist,src=0,val=20", "-numa dist: dst= is missing"), ("dist,dst=0,val=20", "-numa dist: src= is missing"),
        ("dist,src=0,dst=1", "-numa dist: val= is missing"),
    ])
    func wrongDistances_areRefused(_ value: String, _ sentence: String) { #expect(refusal(Self.node0, Self.node1, value) == sentence) }

    @Test func distanceGivenTwice_isRefused() {
        let twice = refusal(Self.node0, Self.node1, "dist,src=0,dst=1,val=30", "dist,src=0,dst=1,val=31")
        #expect(twice == "-numa dist: the distance from node 0 to node 1 is given twice")
        #expect(message(["-initrd", "i", "-numa", "dist,src=0,dst=0,val=10"]) == "-numa dist: there are no -numa nodes 0 and 0")
    }

    @Test func ninthNode_isRefused() {
        var machine = ["-initrd", "i", "-smp", "9", "-m", "128", "-object", "memory-backend-ram,id=m,size=128"]
        for number in 0..<9 { machine += ["-numa", "node,nodeid=\(number),cpus=\(number)" + (number == 0 ? ",memdev=m" : "")] }
        #expect(message(machine) == "-numa node: there can be at most 8")
        #expect(message(machine.dropLast(2)) == "accepted")
    }

    @Test func whatDoesNotGoWithNodes_isRefused() {
        #expect(refusal(Self.node0, Self.node1, machine: Self.machine + ["-mem-path", "/f"]) == "-mem-path: with -numa the memory is where its backends are")
        #expect(refusal(Self.node0, Self.node1, machine: Self.machine + ["-mem-prealloc"]) == "accepted")
        let shared = Self.machine + ["-machine", "microvm,mem-share=on"]
        #expect(refusal(Self.node0, Self.node1, machine: shared) == "-machine mem-share=on: -object memory-backend-ram,id=m0 has share=off")
    }

    /// Its other half maps the guest's memory: all of it, or none of it works.
    @Test func vhostUserDevice_needsEveryBackendShared() throws {
        let device = ["-chardev", "socket,id=c,path=s", "-device", "vhost-user-fs-device,chardev=c,tag=t"]
        #expect(refusal(Self.node0, Self.node1, machine: Self.machine + device)
            == "-device vhost-user-fs-device: needs share=on of every memory backend of -numa")
        let machine = Self.machine.map { $0.hasPrefix("memory-backend-ram") ? $0 + ",share=on" : $0 }
        #expect(refusal(Self.node0, Self.node1, machine: machine + device) == "accepted")
        #expect(refusal(Self.node0, Self.node1, machine: machine + device + ["-machine", "microvm,mem-share=on"]) == "accepted")
        #expect(try parse(["-numa", Self.node0, Self.node1] + machine).isMemoryShared)
    }
}
