/// What is near to what.
extension ACPITables {
    /// Numbers of nodes are below it: the SLIT, which has a row for each, stays small.
    private static let nodeLimit = 128

    static func checkNodes(_ nodes: [ACPIConfiguration.Node]) throws(ACPIError) {
        for (index, node) in nodes.enumerated() {
            guard node.number < nodeLimit, node.distances.count == nodes.count, !nodes[..<index].contains(where: { $0.number == node.number }) else {
                throw .nodeInvalid(node.number)
            }
        }
    }

    /// System Resource Affinity Table (ACPI 6.5 section 5.2.16): the node of each processor and of each range of memory. All of them are enabled (flag 1).
    /// APIC ids are below 255 here, so the structure for x2APIC ids (section 5.2.16.3) is never needed.
    static func srat(_ nodes: [ACPIConfiguration.Node]) -> [UInt8] {
        var body = AML.littleEndian(1, 4) + AML.littleEndian(0, 8)
        for node in nodes {
            let domain = AML.littleEndian(UInt64(node.number), 4)
            for apicID in node.apicIDs {
                // Processor Local APIC/SAPIC Affinity (section 5.2.16.1): the lowest byte of the domain is apart from the others.
                body += [0, 16, domain[0], UInt8(truncatingIfNeeded: apicID)] + AML.littleEndian(1, 4) + [0] + domain[1...] + AML.littleEndian(0, 4)
            }
            for range in node.memory {
                // Memory Affinity (section 5.2.16.2).
                body += [1, 40] + domain + [0, 0] + AML.littleEndian(range.base, 8) + AML.littleEndian(range.size, 8)
                body += AML.littleEndian(0, 4) + AML.littleEndian(1, 4) + AML.littleEndian(0, 8)
            }
        }
        return table("SRAT", revision: 3, body)
    }

    /// System Locality Information Table (ACPI 6.5 section 5.2.17): a square with a row for each number up to the largest. Numbers that no node has
    /// are as far away as a node that nothing is said of; a guest does not read them.
    static func slit(_ nodes: [ACPIConfiguration.Node]) -> [UInt8] {
        let count = nodes.reduce(0) { max($0, Int($1.number) + 1) }
        var distances = [UInt8](repeating: 20, count: count * count)
        for number in 0..<count { distances[number * count + number] = 10 }
        for node in nodes {
            for (other, distance) in zip(nodes, node.distances) { distances[Int(node.number) * count + Int(other.number)] = distance }
        }
        return table("SLIT", revision: 1, AML.littleEndian(UInt64(count), 8) + distances)
    }
}
